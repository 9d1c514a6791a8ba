"""Batch: what is retried, what is limited, where it runs."""

import json

from model import number, target

from . import Stack, check

# One sentence a reason in the AWS Batch user guide, job_stuck_in_runnable_time_limit_actions.
STUCK = [
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
]
NVIDIA_X86 = {"g4dn", "g5", "g6", "g6e", "p3", "p4d", "p5"}
# vCPU → GiB that Fargate pairs with it (ECS developer guide, task_definition_parameters).
FARGATE = {4: range(8, 31), 8: range(16, 61, 4), 16: range(32, 121, 8)}


def definitions(template):
    return {name: d["Properties"] for name, d in template.of_type("AWS::Batch::JobDefinition").items()}


def resources(definition):
    return {r["Type"]: number(r["Value"]) for r in definition["ContainerProperties"]["ResourceRequirements"]}


@check
def retries_follow_the_exit_codes(stack: Stack):
    table = json.loads((stack.root / "events/contract/exit-codes.json").read_text())
    again = [code for code, (_, disposition) in table.items() if disposition == "retry"]
    expected = [
        {"OnStatusReason": "Host EC2*", "Action": "RETRY"},
        {"OnReason": "CannotPullContainerError*", "Action": "RETRY"},
        {"OnReason": "DockerTimeoutError*", "Action": "RETRY"},
        *({"OnExitCode": code, "Action": "RETRY"} for code in again),
        {"OnReason": "*", "Action": "EXIT"},
    ]
    if len(expected) > 5:
        yield f"{len(expected)} rules are needed, Batch takes five"
    if set(definitions(stack.aws)) != {"ReconstructDefinition", "PrepareDefinition"}:
        yield f"job definitions are {sorted(definitions(stack.aws))}"
    for name, definition in definitions(stack.aws).items():
        strategy = definition.get("RetryStrategy", {})
        if strategy.get("EvaluateOnExit") != expected:
            yield f"{name}: {strategy.get('EvaluateOnExit')}, the exit codes ask for {expected}"
        if strategy.get("Attempts") != 3:
            yield f"{name}: {strategy.get('Attempts')} attempts"


@check
def jobs_have_limits(stack: Stack):
    for name, definition in definitions(stack.aws).items():
        timeout = definition.get("Timeout", {}).get("AttemptDurationSeconds")
        if timeout is None or number(timeout) < 60:
            yield f"{name}: timeout {timeout}; Batch has no default and takes 60 s or more"
    gpu = resources(definitions(stack.aws)["ReconstructDefinition"])
    # The smallest instance of each family, an xlarge: 4 vCPUs and 16 GiB. The agent and the kernel need their share.
    if gpu.get("GPU") != 1 or gpu["VCPU"] != 4 or not gpu["MEMORY"] <= 0.9 * 16 * 1024:
        yield f"ReconstructDefinition: {gpu} does not fit an xlarge with 10 % to spare"
    cpu = resources(definitions(stack.aws)["PrepareDefinition"])
    if cpu["MEMORY"] % 1024 or cpu["MEMORY"] // 1024 not in FARGATE.get(cpu["VCPU"], ()):
        yield f"PrepareDefinition: Fargate has no size {cpu}"
    for name, queue in stack.aws.of_type("AWS::Batch::JobQueue").items():
        actions = queue["Properties"].get("JobStateTimeLimitActions", [])
        if [a["Reason"] for a in actions] != STUCK:
            yield f"{name}: a job can wait for ever"
        if any(not 600 <= a["MaxTimeSeconds"] <= 86_400 or (a["State"], a["Action"]) != ("RUNNABLE", "CANCEL") for a in actions):
            yield f"{name}: limits of waiting jobs are {actions}"


@check
def images_are_named_by_digest(stack: Stack):
    for name, definition in definitions(stack.with_images).items():
        image = definition["ContainerProperties"]["Image"]
        if not (isinstance(image, dict) and image.get("Fn::Sub", "").startswith("${Images.RepositoryUri}@$")):
            yield f"{name}: image {image} is not a digest of the stack's repository"
    for parameter in ("GpuImageDigest", "PrepareImageDigest"):
        if "sha256:[0-9a-f]{64}" not in stack.document["Parameters"][parameter].get("AllowedPattern", ""):
            yield f"{parameter}: accepts what is not a digest"
    if stack.aws.resources["Images"]["Properties"].get("ImageTagMutability") != "IMMUTABLE":
        yield "Images: tags can be moved"


@check
def instances_are_spot_first_and_locked_down(stack: Stack):
    queue = stack.aws.resources["GpuQueue"]["Properties"]
    order = [target(e["ComputeEnvironment"]) for e in sorted(queue["ComputeEnvironmentOrder"], key=lambda e: e["Order"])]
    kinds = [stack.aws.resources[name]["Properties"]["ComputeResources"]["Type"] for name in order]
    if kinds != ["SPOT", "EC2"]:
        yield f"GpuQueue: runs on {kinds}, not on Spot and then On-Demand"
    strategies = {"SPOT": "SPOT_PRICE_CAPACITY_OPTIMIZED", "EC2": "BEST_FIT_PROGRESSIVE"}
    for name in order:
        compute = stack.aws.resources[name]["Properties"]["ComputeResources"]
        if compute["AllocationStrategy"] != strategies[compute["Type"]]:
            yield f"{name}: allocates by {compute['AllocationStrategy']}"
        if [c["ImageType"] for c in compute.get("Ec2Configuration", [])] != ["ECS_AL2023_NVIDIA"]:
            yield f"{name}: the machine image is not stated"
        if not compute["InstanceTypes"] or not set(compute["InstanceTypes"]) <= NVIDIA_X86:
            yield f"{name}: {compute['InstanceTypes']} are not all x86_64 with NVIDIA GPUs"
        if compute.get("LaunchTemplate", {}).get("Version") != {"Fn::GetAtt": ["GpuLaunchTemplate", "LatestVersionNumber"]}:
            yield f"{name}: edits of the launch template would go unnoticed"
        if (compute["MinvCpus"], compute["MaxvCpus"]) != (stack.aws.parameters["MinVcpus"], stack.aws.parameters["MaxVcpus"]):
            yield f"{name}: is not capped by the budget"
        if "DesiredvCpus" in compute:
            yield f"{name}: desiredvCpus belongs to Batch"
    data = stack.aws.resources["GpuLaunchTemplate"]["Properties"]["LaunchTemplateData"]
    for mapping in data["BlockDeviceMappings"]:
        disk = mapping["Ebs"]
        if disk.get("Encrypted") is not True or disk["VolumeType"] != "gp3" or disk["VolumeSize"] < 100:
            yield f"GpuLaunchTemplate: disk {disk}"
    if data.get("MetadataOptions") != {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}:
        yield "GpuLaunchTemplate: containers can reach the instance role, or IMDSv1 answers"


@check
def batch_network_lets_nothing_in(stack: Stack):
    for name, group in stack.fsx.of_type("AWS::EC2::SecurityGroup").items():
        if "SecurityGroupIngress" in group["Properties"]:
            yield f"{name}: lets something in"
        if any((rule["FromPort"], rule["ToPort"]) != (443, 443) for rule in group["Properties"].get("SecurityGroupEgress", [{"FromPort": 0, "ToPort": 0}])):
            yield f"{name}: lets out more than HTTPS"
    for name, rule in stack.fsx.of_type("AWS::EC2::SecurityGroupIngress").items():
        if target(rule["Properties"].get("SourceSecurityGroupId")) != "BatchSecurityGroup":
            yield f"{name}: lets in more than the group itself"
    own = {name for kind in ("VPC", "Subnet", "SecurityGroup", "InternetGateway") for name in stack.aws.of_type(f"AWS::EC2::{kind}")}
    given = type(stack.aws)(stack.document, on_aws=True, SubnetIds="subnet-11111111", SecurityGroupIds="sg-11111111")
    if not own or own & set(given.resources):
        yield "a network is made although one is given, or none is made"
    for name, environment in given.of_type("AWS::Batch::ComputeEnvironment").items():
        compute = environment["Properties"]["ComputeResources"]
        if (compute["Subnets"], compute["SecurityGroupIds"]) != (["subnet-11111111"], ["sg-11111111"]):
            yield f"{name}: is not in the network that is given"
    if stack.aws.resources["S3Endpoint"]["Properties"]["VpcEndpointType"] != "Gateway":
        yield "S3Endpoint: traffic to S3 would cost money"
