//! The value of an expression of a template, once the stack is deployed.
//!
//! The shim reads its job definitions, queues and compute environments out of the template that AWS gets, so that
//! both run the same definition. Their expressions are resolved here with the parameters and the physical ids of the
//! deployed resources.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Error, Result};

/// What expressions refer to.
#[derive(Debug, Clone)]
pub struct Resolver<'a> {
    /// The template in its JSON form.
    pub template: &'a Value,
    /// Values of the parameters; the template's defaults hold for the others.
    pub parameters: &'a BTreeMap<String, String>,
    /// Physical ids of the deployed resources, by logical id.
    pub resources: &'a BTreeMap<String, String>,
    /// Name of the stack.
    pub stack: &'a str,
    /// Region.
    pub region: &'a str,
    /// Account.
    pub account: &'a str,
}

impl Resolver<'_> {
    /// `value` without expressions; `None` for `AWS::NoValue`.
    ///
    /// # Errors
    /// [`Error::Template`] for an expression that is malformed or of a kind that is not resolved.
    pub fn resolve(&self, value: &Value) -> Result<Option<Value>> {
        match value {
            Value::Array(items) => {
                let items: Result<Vec<Option<Value>>> = items.iter().map(|item| self.resolve(item)).collect();
                Ok(Some(Value::Array(items?.into_iter().flatten().collect())))
            }
            Value::Object(fields) => {
                if let Some((function, argument)) = expression(fields) {
                    return self.call(function, argument);
                }
                let mut resolved = Map::new();
                for (key, field) in fields {
                    if let Some(field) = self.resolve(field)? {
                        resolved.insert(key.clone(), field);
                    }
                }
                Ok(Some(Value::Object(resolved)))
            }
            plain => Ok(Some(plain.clone())),
        }
    }

    /// Whether the named condition of the template holds.
    ///
    /// # Errors
    /// [`Error::Template`] for a condition that does not exist or is malformed.
    pub fn condition(&self, name: &str) -> Result<bool> {
        let condition = self.template["Conditions"].get(name);
        let condition = condition.ok_or_else(|| Error::Template(format!("condition {name:?} does not exist")))?;
        self.truth(condition)
    }

    fn call(&self, function: &str, argument: &Value) -> Result<Option<Value>> {
        let list = || argument.as_array().map(Vec::as_slice).unwrap_or_default();
        let malformed = || Error::Template(format!("{function} with arguments it does not take"));
        let text = |value: Option<&Value>| -> Result<String> {
            let value = self.resolve(value.ok_or_else(malformed)?)?.ok_or_else(malformed)?;
            scalar(&value).ok_or_else(malformed)
        };
        Ok(Some(match function {
            "Ref" => match argument.as_str().ok_or_else(malformed)? {
                "AWS::NoValue" => return Ok(None),
                name if self.is_list(name) => {
                    let text = self.reference(name);
                    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect()
                }
                name => self.reference(name).into(),
            },
            "Fn::GetAtt" => {
                let path: Vec<&str> = list().iter().filter_map(Value::as_str).collect();
                let [resource, attribute @ ..] = path.as_slice() else { return Err(malformed()) };
                self.attribute(resource, &attribute.join(".")).into()
            }
            "Fn::If" => {
                let [condition, yes, no] = list() else { return Err(malformed()) };
                let holds = self.condition(condition.as_str().ok_or_else(malformed)?)?;
                return self.resolve(if holds { yes } else { no });
            }
            "Fn::Sub" => match argument {
                Value::String(text) => self.substitute(text, &Map::new())?.into(),
                _ => {
                    let [Value::String(text), Value::Object(values)] = list() else { return Err(malformed()) };
                    self.substitute(text, values)?.into()
                }
            },
            "Fn::Join" => {
                let [Value::String(separator), items] = list() else { return Err(malformed()) };
                let items = self.resolve(items)?.ok_or_else(malformed)?;
                let items: Option<Vec<String>> = items.as_array().ok_or_else(malformed)?.iter().map(scalar).collect();
                items.ok_or_else(malformed)?.join(separator).into()
            }
            "Fn::Select" => {
                let at: usize = text(list().first())?.parse().map_err(|_| malformed())?;
                let items = self.resolve(list().get(1).ok_or_else(malformed)?)?;
                items.as_ref().and_then(|items| items.get(at)).ok_or_else(malformed)?.clone()
            }
            "Fn::Split" => {
                let (separator, whole) = (text(list().first())?, text(list().get(1))?);
                whole.split(&separator).map(Value::from).collect()
            }
            "Fn::FindInMap" => {
                let (map, top, second) = (text(list().first())?, text(list().get(1))?, text(list().get(2))?);
                self.template["Mappings"][map][top].get(&second).ok_or_else(malformed)?.clone()
            }
            "Fn::Equals" | "Fn::And" | "Fn::Or" | "Fn::Not" | "Condition" => {
                self.truth(&Value::Object(Map::from_iter([(function.to_owned(), argument.clone())])))?.into()
            }
            _ => return Err(Error::Template(format!("{function} is not resolved on one machine"))),
        }))
    }

    fn truth(&self, condition: &Value) -> Result<bool> {
        let malformed = || Error::Template("a condition that is not one".to_owned());
        let fields = condition.as_object().ok_or_else(malformed)?;
        let (function, argument) = expression(fields).ok_or_else(malformed)?;
        if function == "Condition" {
            return self.condition(argument.as_str().ok_or_else(malformed)?);
        }
        let list = argument.as_array().ok_or_else(malformed)?;
        match function {
            "Fn::Equals" => {
                let [left, right] = list.as_slice() else { return Err(malformed()) };
                let text = |value| Ok::<_, Error>(self.resolve(value)?.as_ref().and_then(scalar));
                Ok(text(left)? == text(right)?)
            }
            "Fn::Not" => list.first().ok_or_else(malformed).and_then(|inner| self.truth(inner)).map(|truth| !truth),
            "Fn::And" => list.iter().try_fold(true, |all, inner| Ok(all & self.truth(inner)?)),
            "Fn::Or" => list.iter().try_fold(false, |any, inner| Ok(any | self.truth(inner)?)),
            _ => Err(malformed()),
        }
    }

    fn substitute(&self, text: &str, values: &Map<String, Value>) -> Result<String> {
        let (mut result, mut rest) = (String::new(), text);
        while let Some(at) = rest.find("${") {
            result.push_str(&rest[..at]);
            let Some(length) = rest[at..].find('}') else {
                return Err(Error::Template("Fn::Sub with a `${` that does not end".to_owned()));
            };
            let name = &rest[at + 2..at + length];
            rest = &rest[at + length + 1..];
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str(&format!("${{{literal}}}"));
            } else if let Some(value) = values.get(name) {
                let value = self.resolve(value)?.as_ref().and_then(scalar);
                result.push_str(&value.ok_or_else(|| Error::Template(format!("Fn::Sub: {name} is not text")))?);
            } else if let Some((resource, attribute)) = name.split_once('.') {
                result.push_str(&self.attribute(resource, attribute));
            } else {
                result.push_str(&self.reference(name));
            }
        }
        result.push_str(rest);
        Ok(result)
    }

    fn reference(&self, name: &str) -> String {
        let pseudo = match name {
            "AWS::StackName" => Some(self.stack),
            "AWS::Region" => Some(self.region),
            "AWS::AccountId" => Some(self.account),
            "AWS::Partition" => Some("aws"),
            "AWS::URLSuffix" => Some("amazonaws.com"),
            _ => None,
        };
        let parameter = || self.parameters.get(name).cloned();
        let default = || self.template["Parameters"][name].get("Default").and_then(scalar);
        // A resource that exists on AWS only, such as a role of Batch, is named by its logical id.
        let resource = || self.resources.get(name).cloned().unwrap_or_else(|| name.to_owned());
        pseudo.map(str::to_owned).or_else(parameter).or_else(default).unwrap_or_else(resource)
    }

    fn is_list(&self, name: &str) -> bool {
        let kind = self.template["Parameters"][name]["Type"].as_str().unwrap_or_default();
        kind == "CommaDelimitedList" || kind.starts_with("List<")
    }

    fn attribute(&self, resource: &str, attribute: &str) -> String {
        let id = self.reference(resource);
        let kind = self.template["Resources"][resource]["Type"].as_str().unwrap_or_default();
        match (kind, attribute) {
            (_, "Arn") if id.starts_with("arn:") => id,
            ("AWS::S3::Bucket", "Arn") => format!("arn:aws:s3:::{id}"),
            ("AWS::SQS::Queue", "QueueName") => id.rsplit('/').next().unwrap_or_default().to_owned(),
            _ => format!("{id}.{attribute}"),
        }
    }
}

fn expression(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (key, value) = fields.iter().next().filter(|_| fields.len() == 1)?;
    let condition = key == "Condition" && value.is_string();
    (key == "Ref" || condition || key.starts_with("Fn::")).then_some((key.as_str(), value))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resolve(value: Value) -> Result<Option<Value>> {
        let template = json!({
            "Parameters": {"Target": {"Default": "aws"}, "Size": {"Default": 7}, "Families": {"Type": "CommaDelimitedList", "Default": "g4dn, g5"}},
            "Conditions": {"OnAws": {"Fn::Equals": [{"Ref": "Target"}, "aws"]}, "Local": {"Fn::Not": [{"Condition": "OnAws"}]}},
            "Mappings": {"M": {"a": {"b": "found"}}},
            "Resources": {"Bucket": {"Type": "AWS::S3::Bucket"}},
        });
        let parameters = BTreeMap::from([("Target".to_owned(), "local".to_owned())]);
        let resources = BTreeMap::from([("Bucket".to_owned(), "stack-bucket-1".to_owned())]);
        let resolver = Resolver {
            template: &template,
            parameters: &parameters,
            resources: &resources,
            stack: "s",
            region: "us-east-1",
            account: "0",
        };
        resolver.resolve(&value)
    }

    #[test]
    fn expressions_are_resolved() {
        for (value, expected) in [
            (json!({"Ref": "Bucket"}), json!("stack-bucket-1")),
            (json!({"Ref": "Size"}), json!("7")),
            (json!({"Ref": "Families"}), json!(["g4dn", "g5"])),
            (json!({"Fn::GetAtt": ["Bucket", "Arn"]}), json!("arn:aws:s3:::stack-bucket-1")),
            (json!({"Fn::Sub": "${AWS::StackName}/${Bucket}/${!x}"}), json!("s/stack-bucket-1/${x}")),
            (json!({"Fn::Sub": ["${a}b", {"a": {"Ref": "Target"}}]}), json!("localb")),
            (json!({"Fn::If": ["OnAws", 1, 2]}), json!(2)),
            (json!({"Fn::If": ["Local", [1, {"Ref": "AWS::NoValue"}], 2]}), json!([1])),
            (json!({"x": {"Ref": "AWS::NoValue"}, "y": 1}), json!({"y": 1})),
            (json!({"Fn::Join": ["-", ["a", {"Ref": "Size"}]]}), json!("a-7")),
            (json!({"Fn::Select": [1, {"Fn::Split": [",", "a,b"]}]}), json!("b")),
            (json!({"Fn::FindInMap": ["M", "a", "b"]}), json!("found")),
        ] {
            assert_eq!(resolve(value.clone()).unwrap(), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_resolved_is_an_error() {
        for value in [
            json!({"Fn::ImportValue": "x"}),
            json!({"Fn::If": ["Nowhere", 1, 2]}),
            json!({"Fn::Sub": "${x"}),
            json!({"Fn::Join": "x"}),
        ] {
            assert!(resolve(value.clone()).is_err(), "{value}");
        }
    }
}
