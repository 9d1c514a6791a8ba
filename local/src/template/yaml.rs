//! YAML with the short forms of CloudFormation's functions, read into the JSON form of the same template.
//!
//! `!Sub x` becomes `{"Fn::Sub": "x"}` and so on, as in
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html>.

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Deeper nesting than any template has; stops a hostile file from exhausting the stack.
const MAX_DEPTH: usize = 64;

/// Reads the one document of `text`.
///
/// # Errors
/// [`Error::Template`] with the line for YAML that is malformed, has anchors, or has a key twice.
pub fn parse(text: &str) -> Result<Value> {
    let mut reader = Reader { events: Parser::new_from_str(text), line: 0 };
    loop {
        match reader.next()? {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd | Event::DocumentEnd => return Err(Error::Template("the document is empty".to_owned())),
            event => return reader.node(event, 0),
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    line: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>> {
        let (event, span) = self
            .events
            .next()
            .ok_or_else(|| self.error("the document ends early"))?
            .map_err(|error| Error::Template(error.to_string()))?;
        self.line = span.start.line();
        Ok(event)
    }

    fn error(&self, message: &str) -> Error {
        Error::Template(format!("line {}: {message}", self.line))
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_anchor(anchor)?;
                Ok(match tag {
                    Some(tag) => short_form(&tag, Value::String(text.into_owned())),
                    None if style == ScalarStyle::Plain => plain(&text),
                    None => Value::String(text.into_owned()),
                })
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_anchor(anchor)?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
                Ok(tagged(tag.as_deref(), Value::Array(items)))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_anchor(anchor)?;
                let mut fields = Map::new();
                loop {
                    let key = match self.next()? {
                        Event::MappingEnd => break,
                        Event::Scalar(text, ..) => text.into_owned(),
                        _ => return Err(self.error("a key that is not text")),
                    };
                    let event = self.next()?;
                    let value = self.node(event, depth + 1)?;
                    if fields.insert(key, value).is_some() {
                        return Err(self.error("the same key twice"));
                    }
                }
                Ok(tagged(tag.as_deref(), Value::Object(fields)))
            }
            _ => Err(self.error("anchors and aliases are not part of a template")),
        }
    }

    fn refuse_anchor(&self, anchor: usize) -> Result<()> {
        if anchor == 0 { Ok(()) } else { Err(self.error("anchors and aliases are not part of a template")) }
    }
}

fn tagged(tag: Option<&Tag>, value: Value) -> Value {
    match tag {
        Some(tag) => short_form(tag, value),
        None => value,
    }
}

fn short_form(tag: &Tag, value: Value) -> Value {
    let name = tag.suffix.as_str();
    if tag.handle != "!" {
        // A tag of YAML itself, such as !!str.
        return value;
    }
    let (key, value) = match (name, value) {
        ("Ref" | "Condition", value) => (name.to_owned(), value),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').unwrap_or((path.as_str(), ""));
            ("Fn::GetAtt".to_owned(), serde_json::json!([resource, attribute]))
        }
        (_, value) => (format!("Fn::{name}"), value),
    };
    Value::Object(Map::from_iter([(key, value)]))
}

/// A plain scalar by the core schema, where digits with a leading zero stay text: account ids have them.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => return Value::Null,
        "true" | "True" => return Value::Bool(true),
        "false" | "False" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let number = digits.starts_with(|c: char| c.is_ascii_digit())
        && (digits == "0" || digits.starts_with("0.") || !digits.starts_with('0'));
    if number
        && digits.bytes().all(|b| b.is_ascii_digit())
        && let Ok(integer) = text.parse::<i64>()
    {
        return integer.into();
    }
    if number
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.matches('.').count() == 1
        && let Ok(float) = text.parse::<f64>()
    {
        return float.into();
    }
    Value::String(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn short_forms_become_long_forms() {
        let text = "A: !Ref B\nC: !Sub '${B}-x'\nD: !GetAtt Q.Arn\nE: !If [Yes, !Ref F, !Ref AWS::NoValue]\nG: {Condition: H}\nI: !Not [!Condition J]\nK: !Join ['-', [a, 1]]\n";
        assert_eq!(
            parse(text).unwrap(),
            json!({
                "A": {"Ref": "B"}, "C": {"Fn::Sub": "${B}-x"}, "D": {"Fn::GetAtt": ["Q", "Arn"]},
                "E": {"Fn::If": ["Yes", {"Ref": "F"}, {"Ref": "AWS::NoValue"}]}, "G": {"Condition": "H"},
                "I": {"Fn::Not": [{"Condition": "J"}]}, "K": {"Fn::Join": ["-", ["a", 1]]},
            })
        );
    }

    #[test]
    fn scalars_keep_what_cloudformation_takes_them_for() {
        let text = "a: 2012-10-17\nb: 012345678901\nc: 900\nd: -1.5\ne: true\nf: '5'\ng: |\n  x\n  y\nh:\ni: 1.2.3\nj: 0\nk: '*'\n";
        assert_eq!(
            parse(text).unwrap(),
            json!({"a": "2012-10-17", "b": "012345678901", "c": 900, "d": -1.5, "e": true, "f": "5", "g": "x\ny\n", "h": null, "i": "1.2.3", "j": 0, "k": "*"})
        );
    }

    #[test]
    fn what_a_template_cannot_hold_is_refused_with_its_line() {
        for (text, what) in
            [("a: 1\na: 2\n", "line 2: the same key twice"), ("a: &x 1\nb: *x\n", "line 1: anchors"), ("", "empty")]
        {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        }
    }
}
