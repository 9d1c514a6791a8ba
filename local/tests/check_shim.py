"""Drives the Batch and Storage Gateway shim with boto3 and holds its answers to botocore's service models.

    check_shim.py URL FILE_SHARE_ARN
boto3 drops what it does not know, so the bodies are checked as they came: no member that the model lacks, every type,
every enumerated value, every required member.
"""
import json
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

URL, SHARE = sys.argv[1:]
# Required by the model in every description, absent on AWS until the job has started.
ABSENT_AT_FIRST = {"startedAt"}
seen = {"batch": set(), "storagegateway": set()}
problems = []


def check(value, shape, where):
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return problems.append(f"{where}: {value!r} is no structure")
        for name in value.keys() - shape.members.keys():
            problems.append(f"{where}.{name}: not in the model")
        for name in set(shape.required_members) - value.keys() - ABSENT_AT_FIRST:
            problems.append(f"{where}.{name}: required and absent")
        for name in value.keys() & shape.members.keys():
            check(value[name], shape.members[name], f"{where}.{name}")
    elif kind == "list":
        if not isinstance(value, list):
            return problems.append(f"{where}: {value!r} is no list")
        for item in value:
            check(item, shape.member, f"{where}[]")
    elif kind == "map":
        if not isinstance(value, dict):
            return problems.append(f"{where}: {value!r} is no map")
        for item in value.values():
            check(item, shape.value, f"{where}{{}}")
    elif kind == "string":
        if not isinstance(value, str) or (shape.enum and value not in shape.enum):
            problems.append(f"{where}: {value!r} is not {shape.enum or 'text'}")
    elif kind in ("integer", "long"):
        if not isinstance(value, int) or isinstance(value, bool):
            problems.append(f"{where}: {value!r} is no whole number")
    elif kind == "boolean":
        if not isinstance(value, bool):
            problems.append(f"{where}: {value!r} is no boolean")
    else:
        problems.append(f"{where}: {kind} is not expected in these services")


def answered(http_response, parsed, model, **_):
    if http_response.status_code == 200:
        seen[model.service_model.service_name].add(model.name)
        body = json.loads(http_response.text or "{}")
        if model.output_shape is not None:
            check(body, model.output_shape, model.name)


def client(service):
    made = boto3.client(service, endpoint_url=URL, region_name="us-east-1", aws_access_key_id="test",
                        aws_secret_access_key="test", config=Config(retries={"total_max_attempts": 1}))
    made.meta.events.register("after-call", answered)
    return made


def refused(exception, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] != exception or not error.response["Error"]["Message"]:
            problems.append(f"{exception} expected, found {error.response['Error']}")
    else:
        problems.append(f"{exception} expected, the request was accepted: {arguments}")


def until(job, *states):
    for _ in range(600):
        described = batch.describe_jobs(jobs=[job])["jobs"][0]
        if described["status"] in states:
            return described
        time.sleep(0.05)
    raise SystemExit(f"{job} never became {states}: {described}")


def submit(name, spec, **more):
    return batch.submit_job(jobName=name, jobQueue="raki-gpu", jobDefinition="raki-reconstruct",
                            parameters={"spec": spec}, **more)["jobId"]


batch, gateway = client("batch"), client("storagegateway")

environments = batch.describe_compute_environments()["computeEnvironments"]
names = {e["computeEnvironmentName"] for e in environments}
assert {"raki-spot", "raki-on-demand"} <= names, names
batch.update_compute_environment(computeEnvironment="raki-spot", computeResources={"minvCpus": 4, "maxvCpus": 8})
spot = batch.describe_compute_environments(computeEnvironments=["raki-spot"])["computeEnvironments"][0]
assert (spot["computeResources"]["minvCpus"], spot["computeResources"]["maxvCpus"]) == (4, 8), spot
refused("ClientException", batch.update_compute_environment, computeEnvironment="raki-spot",
        computeResources={"minvCpus": 9})
refused("ClientException", batch.update_compute_environment, computeEnvironment="nowhere")

assert {q["jobQueueName"] for q in batch.describe_job_queues()["jobQueues"]} == {"raki-gpu", "raki-prepare"}
definitions = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
assert {d["jobDefinitionName"] for d in definitions} == {"raki-reconstruct", "raki-prepare"}

done = submit("recon-done", "flaky", tags={"project": "raki-cloud"})
job = until(done, "SUCCEEDED", "FAILED")
assert [a["container"]["exitCode"] for a in job["attempts"]] == [75, 0], job
assert job["container"]["command"] == ["run", "--spec", "flaky"], job["container"]["command"]
running = submit("recon-running", "waits", timeout={"attemptDurationSeconds": 60},
                 containerOverrides={"environment": [{"name": "A", "value": "b"}]})
until(running, "RUNNING")
waiting = submit("recon-waiting", "exit-0")
until(waiting, "RUNNABLE")
for status, expected in ("RUNNING", ["recon-running"]), ("RUNNABLE", ["recon-waiting"]), ("SUCCEEDED", ["recon-done"]):
    found = [j["jobName"] for j in batch.list_jobs(jobQueue="raki-gpu", jobStatus=status)["jobSummaryList"]]
    assert found == expected, (status, found)
assert [j["jobId"] for j in batch.list_jobs(jobQueue="raki-gpu")["jobSummaryList"]] == [running]
found = batch.list_jobs(jobQueue="raki-gpu", filters=[{"name": "JOB_NAME", "values": ["recon-*"]}])["jobSummaryList"]
assert {j["jobId"] for j in found} == {done, running, waiting}
pages = batch.get_paginator("list_jobs").paginate(
    jobQueue="raki-gpu", filters=[{"name": "JOB_NAME", "values": ["recon-*"]}], PaginationConfig={"PageSize": 1})
assert [len(page["jobSummaryList"]) for page in pages] == [1, 1, 1]
batch.cancel_job(jobId=waiting, reason="not wanted")
assert until(waiting, "FAILED")["isCancelled"]
batch.terminate_job(jobId=running, reason="enough")
assert until(running, "FAILED")["isTerminated"]

refused("ClientException", batch.submit_job, jobName="a b", jobQueue="raki-gpu", jobDefinition="raki-reconstruct")
refused("ClientException", batch.submit_job, jobName="a", jobQueue="nowhere", jobDefinition="raki-reconstruct")
refused("ClientException", batch.submit_job, jobName="a", jobQueue="raki-gpu", jobDefinition="nothing")
refused("ClientException", batch.list_jobs)
refused("ClientException", batch.list_jobs, jobQueue="raki-gpu", filters=[{"name": "COLOUR", "values": ["red"]}])

folders = ["2026-11-23/brain_t2"]
refused("InvalidGatewayRequestException", gateway.refresh_cache, FileShareARN=SHARE[:-1] + "X", FolderList=folders)
answer = gateway.refresh_cache(FileShareARN=SHARE, FolderList=folders, Recursive=False)
assert answer["FileShareARN"] == SHARE and answer["NotificationId"], answer
refused("InvalidGatewayRequestException", gateway.refresh_cache, FileShareARN=SHARE, FolderList=folders)

if problems:
    raise SystemExit("\n".join(sorted(set(problems))))
print(f"checked {len(seen['batch'])} operations of batch and {len(seen['storagegateway'])} of storagegateway")
