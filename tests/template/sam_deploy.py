#!/usr/bin/env python3
"""`sam build` and `sam deploy` with the real SAM CLI, against the emulator on this machine.

    python tests/template/sam_deploy.py          after `make build`; ends with 0 when the stack stands as the template says

Starts the emulator on a free port, builds, deploys with Target=local, deploys again (nothing may change), compares what
stands with what the template says, invokes each function once, and takes everything down. Needs the packages of
tests/requirements.txt; the emulator lies in a virtual environment of its own, because it pins another botocore.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3
from model import Template

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
STACK = "raki-sam"
ARTIFACTS = "raki-sam-artifacts"
# Whatever credentials the caller has must never reach the emulator or, worse, AWS: every process below gets these and
# no variable of the caller but PATH and HOME.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--source", type=Path, default=ROOT, help="tree with template.yaml, samconfig.toml and functions/")
    arguments.add_argument("--release", action="store_true", help="build as for Lambda, not from target/debug")
    options = arguments.parse_args()
    options.source = options.source.resolve()
    with tempfile.TemporaryDirectory(prefix="raki-sam-") as scratch, emulator(Path(scratch)) as endpoint:
        env = environment(Path(scratch), endpoint, options.release)
        build = Path(scratch) / "build"
        sam(options.source, env, "build", "--build-dir", str(build))
        boto("s3", endpoint).create_bucket(Bucket=ARTIFACTS)
        template = Template.load(options.source / "template.yaml", on_aws=False)
        deploy(options.source, env, build)
        first = snapshot(endpoint)
        check_stack(endpoint, template)
        check_code(build, template)
        check_functions(endpoint, template)
        check_test_events(endpoint, template)
        deploy(options.source, env, build)
        expect(snapshot(endpoint) == first, "a second deployment of the same template changed resources")
        # --no-prompts also deletes the artefacts of the stack; the buckets of the template are retained, as on AWS.
        sam(options.source, env, "delete", "--no-prompts", "--stack-name", STACK, "--region", REGION)
        check_deleted(endpoint)
    print("sam build, deploy, deploy again and delete: as the template says")


def environment(scratch, endpoint, release):
    env = {
        # The tools of this interpreter's environment first: sam, cargo-lambda and its zig.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        # cargo finds its toolchain below HOME unless these say otherwise.
        "HOME": os.environ["HOME"],
        # SAM keeps its own configuration there, and would ask about telemetry on the first run.
        "__SAM_CLI_APP_DIR": str(scratch / "sam"),
        "SAM_CLI_TELEMETRY": "0",
        # An IP address, not a name: botocore then addresses buckets in the path, which is all the emulator understands.
        "AWS_ENDPOINT_URL": endpoint,
        **CREDENTIALS,
    }
    env |= {name: os.environ[name] for name in ("CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN") if name in os.environ}
    if not release:
        env["RAKI_CLOUD_BUILD"] = "dev"
    return env


def deploy(source, env, build):
    sam(
        source, env, "deploy",
        "--template-file", str(build / "template.yaml"),
        # SAM looks for it beside the template, which here is the one it built.
        "--config-file", str(source / "samconfig.toml"),
        "--stack-name", STACK,
        "--region", REGION,
        # resolve_s3 of samconfig.toml would make SAM's own managed stack first; a bucket of ours is one thing less to go wrong.
        "--no-resolve-s3", "--s3-bucket", ARTIFACTS,
        "--no-confirm-changeset",
        "--parameter-overrides", "Target=local LocalVisibilitySeconds=5",
    )  # fmt: skip


def sam(source, env, *arguments):
    command = [str(Path(sys.executable).parent / "sam"), *arguments]
    print("$ sam", *arguments, flush=True)
    done = subprocess.run(command, cwd=source, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"sam {arguments[0]} ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout


@contextlib.contextmanager
def emulator(scratch):
    """The emulator on a free port, with an environment that holds nothing of the caller's."""
    venv = Path(os.environ.get("RAKI_CLOUD_EMULATOR_VENV") or ROOT / ".venv/emulator")
    if not (venv / "bin/ministack").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(ROOT / "local/requirements.txt")]
        subprocess.run([str(venv / "bin/python"), *install], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        # Functions inherit it. Without it they would go to AWS.
        "AWS_ENDPOINT_URL": endpoint,
        **CREDENTIALS,
    }
    log = scratch / "emulator.log"
    with log.open("wb") as sink:
        process = subprocess.Popen([str(venv / "bin/ministack")], env=env, cwd=scratch, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
    try:
        wait_for(f"{endpoint}/_ministack/health", process, log)
        yield endpoint
    except BaseException:
        print(log.read_text(errors="replace")[-4000:], file=sys.stderr)
        raise
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url, process, log):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            sys.exit(f"the emulator ended with {process.returncode}:\n{log.read_text(errors='replace')[-4000:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    sys.exit("the emulator did not answer within 60 s")


def boto(service, endpoint):
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"], aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip


def snapshot(endpoint):
    """Logical id, type and physical id of every resource."""
    pages = boto("cloudformation", endpoint).get_paginator("list_stack_resources").paginate(StackName=STACK)
    return {r["LogicalResourceId"]: (r["ResourceType"], r["PhysicalResourceId"]) for page in pages for r in page["StackResourceSummaries"]}


def check_stack(endpoint, template):
    stack = boto("cloudformation", endpoint).describe_stacks(StackName=STACK)["Stacks"][0]
    expect(stack["StackStatus"] == "CREATE_COMPLETE", f"the stack is {stack['StackStatus']}")
    standing = snapshot(endpoint)
    for name, resource in template.resources.items():
        kind = resource["Type"].replace("AWS::Serverless::Function", "AWS::Lambda::Function")
        expect(standing.get(name, ("missing",))[0] == kind, f"{name} of the template is {standing.get(name, 'missing')}, not a {kind}")
    absent = set(template.all_resources) - set(template.resources)
    expect(not absent & set(standing), f"resources for AWS only stand here: {sorted(absent & set(standing))}")
    outputs = {o["OutputKey"] for o in stack["Outputs"]}
    expect(outputs == set(template.outputs), f"outputs are {sorted(outputs)}, the template has {sorted(template.outputs)}")

    s3, sqs, functions = boto("s3", endpoint), boto("sqs", endpoint), boto("lambda", endpoint)
    for name in template.of_type("AWS::S3::Bucket"):
        bucket = standing[name][1]
        expect(s3.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled", f"{name} is not versioned")
    for bucket, queue in [("RawBucket", "RawQueue"), ("PreparedBucket", "ReconQueue"), ("ResultsBucket", "RefreshQueue")]:
        arn = sqs.get_queue_attributes(QueueUrl=standing[queue][1], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        targets = s3.get_bucket_notification_configuration(Bucket=standing[bucket][1]).get("QueueConfigurations", [])
        expect([t["QueueArn"] for t in targets] == [arn], f"{bucket} does not notify {queue}: {targets}")
        mappings = functions.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
        reader = {"RawQueue": "Decompress", "ReconQueue": "Submit", "RefreshQueue": "Refresh"}[queue]
        readers = [(m["FunctionArn"].rsplit(":", 1)[1], m["State"], m["FunctionResponseTypes"]) for m in mappings]
        expect(readers == [(standing[reader][1], "Enabled", ["ReportBatchItemFailures"])], f"{queue} is read by {readers}")
    for name in template.functions:
        code = functions.get_function_configuration(FunctionName=standing[name][1])
        expect(code["CodeSize"] > 10_000, f"{name} has {code['CodeSize']} bytes of code: CodeUri was not uploaded")
        expect(code["Runtime"] == "provided.al2023", f"{name} runs on {code['Runtime']}")


def check_code(build, template):
    for name in template.functions:
        program = build / name / "bootstrap"
        expect(program.is_file() and os.access(program, os.X_OK), f"sam build left no executable {program.name} for {name}")


def check_functions(endpoint, template):
    """Each function starts: an event that asks for nothing must not fail in the set-up of the program. `metrics` and `scale` talk
    to Batch whatever the event, and there is none here, so for these two only a start is asked for."""
    functions = boto("lambda", endpoint)
    for name in template.functions:
        event = {} if name in ("Metrics", "Scale", "Outcome") else {"Records": []}
        answer = functions.invoke(FunctionName=f"{STACK}-{name.lower()}", Payload=json.dumps(event).encode())
        body = answer["Payload"].read().decode(errors="replace")
        started = not any(sign in body for sign in ("Runtime.", "during init", "no code deployed"))
        expect(started, f"{name} did not start: {body[:500]}")
        if "Records" in event:
            expect("FunctionError" not in answer, f"{name} failed on an empty batch: {body[:500]}")


def check_test_events(endpoint, template):
    """S3 sends a test event to each queue when the notification is set. It must be acknowledged, or it comes back until it is a dead
    letter and the first alarm of a new stack is a false one."""
    sqs, standing = boto("sqs", endpoint), snapshot(endpoint)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        counts = {}
        for name in template.of_type("AWS::SQS::Queue"):
            attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            answer = sqs.get_queue_attributes(QueueUrl=standing[name][1], AttributeNames=attributes)["Attributes"]
            counts[name] = sum(map(int, answer.values()))
        dead = [name for name, count in counts.items() if count and "DeadLetter" in name]
        expect(not dead, f"a new stack has dead letters in {dead}")
        if not any(counts.values()):
            return
        time.sleep(1)
    expect(False, f"messages are left over in a new stack: {counts}")


def check_deleted(endpoint):
    with contextlib.suppress(Exception):
        status = boto("cloudformation", endpoint).describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]
        expect(status == "DELETE_COMPLETE", f"after sam delete the stack is {status}")
    kept = {b["Name"] for b in boto("s3", endpoint).list_buckets()["Buckets"]}
    for name in ("raw", "prepared", "results", "state"):
        expect(any(bucket.startswith(f"{STACK}-{name}-") for bucket in kept), f"deleting the stack deleted the {name} bucket")
    expect(not boto("lambda", endpoint).list_functions()["Functions"], "deleting the stack left functions behind")


def expect(condition, sentence):
    if not condition:
        raise SystemExit(f"sam_deploy: {sentence}")


if __name__ == "__main__":
    main()
