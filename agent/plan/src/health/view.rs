//! Reads fields of an object by path; what is missing or of another type reads as absent.

use serde_json::Value;

/// An object of the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    object: &'a Value,
}

/// One entry of a list of conditions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition<'a> {
    view: View<'a>,
}

impl<'a> View<'a> {
    pub(super) fn new(object: &'a Value) -> Self {
        Self { object }
    }

    pub(super) fn has(self, path: &str) -> bool {
        self.object
            .pointer(path)
            .is_some_and(|value| !value.is_null())
    }

    pub(super) fn text(self, path: &str) -> Option<&'a str> {
        self.object
            .pointer(path)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    pub(super) fn integer(self, path: &str) -> Option<i64> {
        self.object.pointer(path).and_then(Value::as_i64)
    }

    /// A counter: the server leaves out a zero.
    pub(super) fn count(self, path: &str) -> i64 {
        self.integer(path).unwrap_or(0)
    }

    pub(super) fn is_true(self, path: &str) -> bool {
        self.object.pointer(path).and_then(Value::as_bool) == Some(true)
    }

    pub(super) fn items(self, path: &str) -> impl Iterator<Item = View<'a>> + use<'a> {
        let items = self.object.pointer(path).and_then(Value::as_array);
        items.into_iter().flatten().map(View::new)
    }

    /// The condition of a type, from `status.conditions`.
    pub(super) fn condition(self, kind: &str) -> Option<Condition<'a>> {
        self.condition_at("/status/conditions", kind)
    }

    /// The condition of a type, from any list of conditions.
    pub(super) fn condition_at(self, path: &str, kind: &str) -> Option<Condition<'a>> {
        let mut conditions = self.items(path);
        let view = conditions.find(|condition| condition.text("/type") == Some(kind))?;
        Some(Condition { view })
    }
}

impl<'a> Condition<'a> {
    pub(super) fn is_true(self) -> bool {
        self.view.text("/status") == Some("True")
    }

    pub(super) fn is_false(self) -> bool {
        self.view.text("/status") == Some("False")
    }

    pub(super) fn reason(self) -> &'a str {
        self.view.text("/reason").unwrap_or_default()
    }

    /// The generation the condition speaks of, if it says so.
    pub(super) fn observed_generation(self) -> Option<i64> {
        self.view.integer("/observedGeneration")
    }

    /// Its message for people, or what there is of reason, type and status.
    pub(super) fn text(self) -> String {
        if let Some(message) = self
            .view
            .text("/message")
            .or_else(|| self.view.text("/reason"))
        {
            return message.to_owned();
        }
        let of = |path| self.view.text(path).unwrap_or("unknown");
        format!("{} is {}", of("/type"), of("/status"))
    }
}
