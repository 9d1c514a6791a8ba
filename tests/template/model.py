"""template.yaml as data: conditions decided, `!If` chosen, parameters put in.

What remains of the intrinsic functions (references between resources, `!Sub`, `!GetAtt`) stays as CloudFormation's JSON
form, such as {"Ref": "RawQueue"}, so that a check can ask where a value points.
"""

import copy
import re
from pathlib import Path

import yaml

NO_VALUE = {"Ref": "AWS::NoValue"}


class _Loader(yaml.SafeLoader):
    pass


def _intrinsic(loader, suffix, node):
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {name: value}


_Loader.add_multi_constructor("!", _intrinsic)
# CloudFormation reads a date as text, and so do we: "2012-10-17" is a version.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Template:
    """One reading of the template, for AWS or for the emulator, with its default parameters or others."""

    def __init__(self, document, on_aws=True, **parameters):
        self.document = document
        self.on_aws = on_aws
        self.parameters = {name: entry.get("Default", "") for name, entry in document["Parameters"].items()}
        self.parameters["Target"] = "aws" if on_aws else "local"
        unknown = set(parameters) - set(self.parameters)
        if unknown:
            raise KeyError(f"the template has no parameters {sorted(unknown)}")
        self.parameters |= parameters
        self.all_resources = document["Resources"]
        self.resources = {n: self._resource(r) for n, r in self.all_resources.items() if self.holds(r.get("Condition"))}
        self.outputs = {n: self.resolve(o) for n, o in document["Outputs"].items() if self.holds(o.get("Condition"))}
        globals_ = self.resolve(document["Globals"]["Function"])
        self.functions = {n: _merge(globals_, r["Properties"]) for n, r in self.of_type("AWS::Serverless::Function").items()}

    @classmethod
    def load(cls, path, on_aws=True, **parameters):
        return cls(read(path), on_aws, **parameters)

    def of_type(self, kind):
        return {name: resource for name, resource in self.resources.items() if resource["Type"] == kind}

    def holds(self, condition):
        """Whether a condition is true; one that is not stated is."""
        return True if condition is None else self._decide(self.document["Conditions"][condition])

    def resolve(self, value):
        """`value` with `!If` chosen, parameters put in and `AWS::NoValue` dropped."""
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item != NO_VALUE]
        if not isinstance(value, dict):
            return value
        if set(value) == {"Fn::If"}:
            condition, yes, no = value["Fn::If"]
            return self.resolve(yes if self.holds(condition) else no)
        if set(value) == {"Ref"} and value["Ref"] in self.parameters:
            return self._parameter(value["Ref"])
        resolved = {name: self.resolve(item) for name, item in value.items()}
        return {name: item for name, item in resolved.items() if item != NO_VALUE}

    def _parameter(self, name):
        value = self.parameters[name]
        if self.document["Parameters"][name]["Type"] == "CommaDelimitedList" and isinstance(value, str):
            return [part for part in value.split(",") if part]
        return value

    def _resource(self, resource):
        return self.resolve(copy.deepcopy(resource))

    def _decide(self, expression):
        ((function, argument),) = expression.items()
        match function:
            case "Condition":
                return self.holds(argument)
            case "Fn::Not":
                return not self._decide(argument[0])
            case "Fn::And":
                return all(map(self._decide, argument))
            case "Fn::Or":
                return any(map(self._decide, argument))
            case "Fn::Equals":
                left, right = (str(self._join(self.resolve(side))) for side in argument)
                return left == right
        raise ValueError(f"a condition uses {function}, which this model does not know")

    @staticmethod
    def _join(value):
        return value["Fn::Join"][0].join(value["Fn::Join"][1]) if isinstance(value, dict) and set(value) == {"Fn::Join"} else value


def read(path):
    return yaml.load(Path(path).read_text(), _Loader)


def number(value):
    """The template's numbers come as numbers or, where they become variables, as text."""
    return int(str(value))


def target(value):
    """The logical id a reference points to: of `!Ref X` and `!GetAtt X.Arn`."""
    if isinstance(value, dict):
        if "Ref" in value:
            return value["Ref"]
        if "Fn::GetAtt" in value:
            return value["Fn::GetAtt"][0]
    return None


def as_list(value):
    return value if isinstance(value, list) else [value]


def walk(value, path=()):
    """Every (path, value) below a value, itself included."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from walk(item, (*path, key))


def references(value):
    """Logical ids and parameters that a value refers to, in any form."""
    found = set()
    for _, item in walk(value):
        if isinstance(item, dict):
            found |= {target(item)} - {None}
            sub = item.get("Fn::Sub")
            text = sub[0] if isinstance(sub, list) else sub
            if isinstance(text, str):
                found |= {name.split(".")[0] for name in re.findall(r"\$\{([^}!]+)\}", text)}
    return found


def _merge(base, over):
    merged = dict(base)
    for name, value in over.items():
        merged[name] = _merge(merged[name], value) if isinstance(value, dict) and isinstance(merged.get(name), dict) else value
    return merged
