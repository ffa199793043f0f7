//! The text of a JSON value as it was written, and the fields that a reader does not know.

use std::collections::BTreeMap;

use serde_json::Value;

/// The text without whitespace between its tokens; numbers and strings stay as they were written.
pub(super) fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '"' {
            in_string = true;
        } else if matches!(c, ' ' | '\t' | '\n' | '\r') {
            continue;
        }
        compact.push(c);
    }
    compact
}

/// The fields of `written` that are not in `known`, by JSON Pointers (RFC 6901) to them.
pub(super) fn unknown_fields(written: &Value, known: &Value) -> BTreeMap<String, Value> {
    let mut unknown = BTreeMap::new();
    collect(written, known, "", &mut unknown);
    unknown
}

fn collect(written: &Value, known: &Value, at: &str, unknown: &mut BTreeMap<String, Value>) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (key, value) in written {
                let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                match known.get(key) {
                    Some(known) => collect(value, known, &at, unknown),
                    None => {
                        unknown.insert(at, value.clone());
                    }
                }
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            for (index, (written, known)) in written.iter().zip(known).enumerate() {
                collect(written, known, &format!("{at}/{index}"), unknown);
            }
        }
        _ => {}
    }
}

/// Puts fields back to where their pointers say, where there is still such a place.
pub(super) fn restore_fields(value: &mut Value, fields: &BTreeMap<String, Value>) {
    for (pointer, field) in fields {
        let Some((parent, key)) = pointer.rsplit_once('/') else {
            continue;
        };
        if let Some(Value::Object(parent)) = value.pointer_mut(parent) {
            let key = key.replace("~1", "/").replace("~0", "~");
            parent.entry(key).or_insert_with(|| field.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_whitespace_between_tokens_is_left_out() {
        let text = "{ \"a b\" : [1.50, 1e-7],\n\t\"c\\\" d\\\\\" : \"x \\\\\" }\r\n";
        let expected = "{\"a b\":[1.50,1e-7],\"c\\\" d\\\\\":\"x \\\\\"}";
        assert_eq!(compact(text), expected);
        assert_eq!(compact(expected), expected);
    }

    #[test]
    fn unknown_fields_are_found_and_put_back_anywhere() {
        let written = json!({"a": 1, "new": {"x": 2}, "list": [{"b": 1, "c/d~": [3]}]});
        let known = json!({"a": 1, "list": [{"b": 1}], "more": null});
        let unknown = unknown_fields(&written, &known);
        let pointers: Vec<&str> = unknown.keys().map(String::as_str).collect();
        assert_eq!(pointers, ["/list/0/c~1d~0", "/new"]);
        let mut restored = known;
        restore_fields(&mut restored, &unknown);
        assert_eq!(
            restored,
            json!({"a": 1, "list": [{"b": 1, "c/d~": [3]}], "more": null, "new": {"x": 2}})
        );
        // A place that is gone is no reason to fail.
        restore_fields(&mut json!({"list": []}), &unknown);
    }
}
