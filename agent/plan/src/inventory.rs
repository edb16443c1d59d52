//! The write-ahead record of every object a Sync may own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::live::Uid;
use crate::object::{ContentHash, ObjectId};

/// Every object that a Sync has, or is about to have, in the cluster. An object leaves it only when it is known to be gone
/// or to be another's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// By id; serialised under [`ObjectId::inventory_key`].
    pub entries: BTreeMap<ObjectId, Entry>,
}

/// One object of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// API version, without the group, to ask the server for it.
    pub version: String,
    /// The live object last known to be ours; none from the write-ahead of a creation until it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// What was last applied. Never that of a Secret, whose content a hash would let others guess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<ContentHash>,
}

/// The hash that may be written down for an object.
pub(crate) fn storable_hash(id: &ObjectId, hash: ContentHash) -> Option<ContentHash> {
    (!id.is("", "Secret")).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_form() {
        let entry = |uid: Option<&str>| Entry {
            version: "v1".to_owned(),
            uid: uid.map(Uid::from),
            hash: None,
        };
        let inventory = Inventory {
            entries: [
                (
                    ObjectId::new("apps", "Deployment", Some("a"), "b"),
                    entry(Some("u")),
                ),
                (ObjectId::new("", "Namespace", None, "a"), entry(None)),
            ]
            .into(),
        };
        let json = serde_json::to_string(&inventory).unwrap();
        assert_eq!(
            json,
            r#"{"entries":{"_a__Namespace":{"version":"v1"},"a_b_apps_Deployment":{"version":"v1","uid":"u"}}}"#
        );
        assert_eq!(serde_json::from_str::<Inventory>(&json).unwrap(), inventory);
    }
}
