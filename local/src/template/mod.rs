//! The stack's own `template.yaml`: read once, deployed to the emulator and, for Batch, read by the shim.
//!
//! | module | what it does |
//! |---|---|
//! | [`yaml`] | YAML with short forms into the JSON form of a template |
//! | [`intrinsics`] | values of expressions, once the stack is deployed |

pub mod intrinsics;
pub mod yaml;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Error, Result};

/// The template this release was built with.
pub const BUILT_IN: &str = include_str!("../../../template.yaml");

/// A template in its JSON form.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// The whole document.
    pub document: Value,
}

/// A Lambda function of the template and the program it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Logical id of the resource.
    pub logical_id: String,
    /// Name of the compiled program.
    pub program: String,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`Error::Template`] when it is not YAML or has no resources.
    pub fn parse(text: &str) -> Result<Self> {
        let document = yaml::parse(text)?;
        if document["Resources"].as_object().is_none_or(serde_json::Map::is_empty) {
            return Err(Error::Template("there are no resources in it".to_owned()));
        }
        Ok(Self { document })
    }

    /// Resources of a type, with their logical ids.
    pub fn resources<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let resources = self.document["Resources"].as_object().into_iter().flatten();
        resources.filter(move |(_, resource)| resource["Type"] == kind).map(|(id, resource)| (id.as_str(), resource))
    }

    /// Whether the template has a parameter of that name.
    #[must_use]
    pub fn has_parameter(&self, name: &str) -> bool {
        self.document["Parameters"].get(name).is_some()
    }

    /// The functions, with the program that cargo builds for each.
    #[must_use]
    pub fn functions(&self) -> Vec<Function> {
        self.resources("AWS::Serverless::Function")
            .map(|(id, resource)| Function {
                logical_id: id.to_owned(),
                program: resource["Metadata"]["Binary"].as_str().map_or_else(|| id.to_lowercase(), str::to_owned),
            })
            .collect()
    }

    /// Names that stand beside references to resources an emulator lacks: `!If [OnAws, !Ref Queue, name]`, or a `!Join`
    /// of references beside a list with commas. By logical id.
    #[must_use]
    pub fn names_off_aws(&self) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        collect_names(&self.document, &mut names);
        names
    }

    /// Points a function at its package, as `aws cloudformation package` does.
    pub fn set_code(&mut self, logical_id: &str, url: &str) {
        self.document["Resources"][logical_id]["Properties"]["CodeUri"] = url.into();
    }
}

fn collect_names(value: &Value, names: &mut BTreeMap<String, String>) {
    let condition = value["Fn::If"].get(0).and_then(Value::as_str);
    if let (Some("OnAws"), Some(there), Some(here)) =
        (condition, value["Fn::If"].get(1), value["Fn::If"].get(2).and_then(Value::as_str))
    {
        let joined = there["Fn::Join"].get(1).and_then(Value::as_array).map(Vec::as_slice);
        let resources = joined.unwrap_or(std::slice::from_ref(there));
        let (resources, here): (Vec<_>, Vec<_>) =
            (resources.iter().map(|r| r["Ref"].as_str()).collect(), here.split(',').collect());
        if resources.len() == here.len() {
            let pairs = resources.into_iter().zip(here);
            names.extend(pairs.filter_map(|(id, name)| Some((id?.to_owned(), name.to_owned()))));
        }
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        Value::Object(fields) => fields.values().for_each(|field| collect_names(field, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packaging_changes_the_code_and_nothing_else() {
        let text = "Resources:\n  Decompress:\n    Type: AWS::Serverless::Function\n    Metadata: {BuildMethod: rust-cargolambda, Binary: decompress}\n    Properties:\n      CodeUri: functions/\n      Timeout: !If [OnAws, 900, 60]\n  Scale: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: x}}\n";
        let mut template = Template::parse(text).unwrap();
        let programs: Vec<_> = template.functions().into_iter().map(|f| f.program).collect();
        assert_eq!(programs, ["decompress", "scale"]);
        let mut expected = template.document.clone();
        template.set_code("Decompress", "s3://artefacts/decompress.zip");
        expected["Resources"]["Decompress"]["Properties"]["CodeUri"] = "s3://artefacts/decompress.zip".into();
        assert_eq!(template.document, expected);
    }

    #[test]
    fn names_beside_references_are_found() {
        let text = "Resources: {F: {Type: x, A: !If [OnAws, !Ref Q, queue], B: !If [OnAws, !Join [',', [!Ref C, !Ref D]], 'c,d'], E: !If [Other, !Ref X, y], G: !If [OnAws, '3600', '60']}}";
        let expected = [("C", "c"), ("D", "d"), ("Q", "queue")].map(|(id, name)| (id.to_owned(), name.to_owned()));
        assert_eq!(Template::parse(text).unwrap().names_off_aws(), expected.into());
    }

    #[test]
    fn the_built_in_template_names_the_six_functions() {
        let template = Template::parse(BUILT_IN).unwrap();
        let programs: std::collections::BTreeSet<_> = template.functions().into_iter().map(|f| f.program).collect();
        let expected = ["decompress", "metrics", "outcome", "refresh", "scale", "submit"];
        assert_eq!(programs, expected.map(str::to_owned).into());
    }
}
