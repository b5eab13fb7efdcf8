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
    by(&mut old, &mut new, &mut pairs, name);
    by(&mut old, &mut new, &mut pairs, |item| Some(item.hash));
    // What has a name belongs to nothing with another name.
    let is_named = |item: &&Tree<'a>| name(item).is_some();
    let (old_named, old): (Vec<_>, Vec<_>) = old.into_iter().partition(is_named);
    let (new_named, new): (Vec<_>, Vec<_>) = new.into_iter().partition(is_named);
    pairs.extend(old_named.into_iter().map(|item| (Some(item), None)));
    pairs.extend(new_named.into_iter().map(|item| (None, Some(item))));
    let count = old.len().max(new.len());
    pairs.extend((0..count).map(|number| (old.get(number).copied(), new.get(number).copied())));
    pairs
}

/// What an item is called. Two items with different names are different things.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Name<'a> {
    /// The `fullUrl` of a Bundle's entry.
    FullUrl(&'a str),
    /// The type and id of a resource: an entry's, or the item itself. An id alone is that of one of many types.
    Resource(&'a str, &'a str),
    /// The id of an element.
    Id(&'a str),
}

fn name<'a>(item: &Tree<'a>) -> Option<Name<'a>> {
    let of_resource = |resource: &Tree<'a>| Some(Name::Resource(resource.text("resourceType")?, resource.text("id")?));
    let full_url = item.text("fullUrl").map(Name::FullUrl);
    full_url
        .or_else(|| of_resource(item.children.get("resource")?))
        .or_else(|| of_resource(item))
        .or_else(|| item.text("id").map(Name::Id))
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
