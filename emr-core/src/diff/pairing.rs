//! Which parts of two versions belong together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tree::Tree;

/// A part of the old version and the part of the new one that belongs to it; one of them may be absent.
pub(super) type Pair<'t, 'a> = (Option<&'t Tree<'a>>, Option<&'t Tree<'a>>);

/// The members of two objects belong together by their names.
pub(super) fn members<'t, 'a>(old: &'t Tree<'a>, new: &'t Tree<'a>) -> Vec<Pair<'t, 'a>> {
    let names: BTreeSet<_> = old.children.keys().chain(new.children.keys()).copied().collect();
    names.into_iter().map(|name| (old.children.get(name), new.children.get(name))).collect()
}

/// The items of two arrays belong together if they have the same name, or the same content, or else by their order.
pub(super) fn items<'t, 'a>(old: &'t Tree<'a>, new: &'t Tree<'a>) -> Vec<Pair<'t, 'a>> {
    let (mut old, mut new) = (old.items(), new.items());
    let mut pairs = Vec::new();
    by(&mut old, &mut new, &mut pairs, |item| item.text("fullUrl"));
    by(&mut old, &mut new, &mut pairs, |item| item.children.get("resource").and_then(|resource| resource.text("id")));
    by(&mut old, &mut new, &mut pairs, |item| item.text("id"));
    by(&mut old, &mut new, &mut pairs, |item| Some(item.hash));
    // What has a name belongs to nothing with another name.
    let is_named = |item: &&Tree<'a>| item.text("fullUrl").is_some() || item.text("id").is_some();
    let (old_named, old): (Vec<_>, Vec<_>) = old.into_iter().partition(is_named);
    let (new_named, new): (Vec<_>, Vec<_>) = new.into_iter().partition(is_named);
    pairs.extend(old_named.into_iter().map(|item| (Some(item), None)));
    pairs.extend(new_named.into_iter().map(|item| (None, Some(item))));
    let count = old.len().max(new.len());
    pairs.extend((0..count).map(|number| (old.get(number).copied(), new.get(number).copied())));
    pairs
}

/// Takes out the items whose property is equal, in their order.
fn by<'t, 'a, K: Ord>(
    old: &mut Vec<&'t Tree<'a>>,
    new: &mut Vec<&'t Tree<'a>>,
    pairs: &mut Vec<Pair<'t, 'a>>,
    property: impl Fn(&'t Tree<'a>) -> Option<K>,
) {
    let mut waiting: BTreeMap<K, VecDeque<usize>> = BTreeMap::new();
    for (number, item) in new.iter().enumerate() {
        if let Some(property) = property(item) {
            waiting.entry(property).or_default().push_back(number);
        }
    }
    let mut taken = BTreeSet::new();
    old.retain(|item| {
        let number = property(item).and_then(|property| waiting.get_mut(&property)?.pop_front());
        let Some((number, partner)) = number.and_then(|number| Some((number, *new.get(number)?))) else { return true };
        taken.insert(number);
        pairs.push((Some(item), Some(partner)));
        false
    });
    let mut number = 0;
    new.retain(|_| {
        number += 1;
        !taken.contains(&(number - 1))
    });
}
