//! Kinds of operation: what the table in `operation/mod.rs` becomes.

use super::Kind;

/// Makes [`Kind`], [`Action`](super::Action) and their dispatch from the table of kinds. The order of the table is the order of the circuit's flags.
macro_rules! kinds {
    (
        L2 { $($(#[$l2_doc:meta])* $l2:ident = $l2_code:literal, $l2_name:literal;)+ }
        L1 { $($(#[$l1_doc:meta])* $l1:ident = $l1_code:literal, $l1_name:literal;)+ }
    ) => {
        /// The kinds of operation that batches hold. 8 bits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[repr(u8)]
        pub enum Kind {
            /// No operation: the slot of the batch is unused.
            Noop = 0,
            $($(#[$l2_doc])* $l2 = $l2_code,)+
            $($(#[$l1_doc])* $l1 = $l1_code,)+
        }

        impl Kind {
            /// The kinds that accounts sign. The circuit has one flag for each, in this order.
            pub const L2: [Self; [$($l2_code),+].len()] = [$(Self::$l2),+];

            /// The kinds that come through the L1 queue. The circuit has one flag for each, in this order.
            pub const L1: [Self; [$($l1_code),+].len()] = [$(Self::$l1),+];

            /// The kind's name in text and JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Noop => "noop",
                    $(Self::$l2 => $l2_name,)+
                    $(Self::$l1 => $l1_name,)+
                }
            }

            /// The rules of an L2 kind, or `None` for an unused slot and for kinds of the L1 queue.
            pub const fn rule(self) -> Option<&'static Rule> {
                match self {
                    $(Self::$l2 => Some(&$l2::RULE),)+
                    Self::Noop $(| Self::$l1)+ => None,
                }
            }

            /// The rules of an L1 kind, or `None` for an unused slot and for kinds that accounts sign.
            pub const fn l1_rule(self) -> Option<&'static L1Rule> {
                match self {
                    $(Self::$l1 => Some(&l1_operation::$l1::RULE),)+
                    Self::Noop $(| Self::$l2)+ => None,
                }
            }
        }

        /// What an operation does: its own fields, as signed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum Action {
            $($(#[$l2_doc])* $l2($l2),)+
        }

        impl Action {
            /// The operation's kind.
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$l2(_) => Kind::$l2,)+
                }
            }

            /// The rules of this kind.
            pub const fn rule(&self) -> &'static Rule {
                match self {
                    $(Self::$l2(_) => &$l2::RULE,)+
                }
            }

            fn signed(&self) -> &dyn Signed {
                match self {
                    $(Self::$l2(action) => action,)+
                }
            }
        }

        $(impl From<$l2> for Action {
            fn from(action: $l2) -> Self {
                Self::$l2(action)
            }
        })+
    };
}

pub(super) use kinds;

impl Kind {
    /// The code in packed fields.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether operations of this kind end rights, as [`Rule::ends_rights`](super::Rule::ends_rights) says.
    pub fn ends_rights(self) -> bool {
        self.rule().is_some_and(|rule| rule.ends_rights)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        let all = [Kind::Noop].into_iter().chain(Kind::L1).chain(Kind::L2);
        for kind in all {
            assert_eq!(serde_json::to_value(kind).ok(), Some(kind.name().into()));
            assert_eq!(kind.rule().is_some(), Kind::L2.contains(&kind), "{kind}");
            assert_eq!(kind.l1_rule().is_some(), Kind::L1.contains(&kind), "{kind}");
        }
    }
}
