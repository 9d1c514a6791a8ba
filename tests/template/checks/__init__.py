"""What must hold of template.yaml, one function each.

A check takes a `Stack` and yields a sentence for each thing that is wrong. `test_template.py` runs them on the template as it
is; `test_mutations.py` breaks the template in one place at a time and asks that the right check complains, so that none
of them can be a check that never fails.

| module | what it holds |
|---|---|
| queues | visibility, dead letters, mappings, event targets |
| buckets | closed, encrypted, notifications, lifecycle |
| functions | limits, programs, variables, logs, roles |
| access | no wildcard beyond the list, raw never written |
| batch | retries by exit code, limits, instances, images, FSx |
| watching | alarms, dashboard |
| shape | conditions, parameters |
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from model import Template

ROOT = Path(__file__).resolve().parents[3]
CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


@dataclass
class Stack:
    """The readings of one template that checks need."""

    document: dict
    root: Path = ROOT

    @cached_property
    def aws(self):
        return Template(self.document, on_aws=True)

    @cached_property
    def local(self):
        return Template(self.document, on_aws=False)

    @cached_property
    def fsx(self):
        return Template(self.document, on_aws=True, UseFsx="true")

    @cached_property
    def with_images(self):
        digest = "sha256:" + "0" * 64
        return Template(self.document, on_aws=True, GpuImageDigest=digest, PrepareImageDigest=digest)

    @cached_property
    def readings(self):
        return {"aws": self.aws, "local": self.local, "aws with FSx": self.fsx, "aws with images": self.with_images}


def statements(resource):
    """The statements of an inline or resource policy."""
    properties = resource["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    documents += [properties[name] for name in ("PolicyDocument", "KeyPolicy") if name in properties]
    return [statement for document in documents for statement in document["Statement"]]


from . import access, batch, buckets, functions, queues, shape, watching  # noqa: E402, F401
