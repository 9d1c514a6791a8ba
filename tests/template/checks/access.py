"""Who may do what."""

from model import as_list, references, target

from . import Stack, check, statements

# Actions without a resource level (AWS service authorization reference), and nothing else, may name every resource.
WITHOUT_RESOURCES = {
    "batch:DescribeComputeEnvironments",
    "batch:DescribeJobQueues",
    "batch:DescribeJobs",
    "batch:ListJobs",
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
MANAGED = {"AmazonEC2ContainerServiceforEC2Role"}


def grants(template):
    """(role, statement) of everything a role is allowed."""
    for name, role in template.of_type("AWS::IAM::Role").items():
        for statement in statements(role):
            if statement["Effect"] == "Allow":
                yield name, statement


@check
def wildcards_only_where_aws_has_no_resources(stack: Stack):
    for reading, template in stack.readings.items():
        for name, statement in grants(template):
            actions = set(as_list(statement["Action"]))
            if "*" in as_list(statement["Resource"]) and not actions <= WITHOUT_RESOURCES:
                yield f"{name} ({reading}): {sorted(actions - WITHOUT_RESOURCES)} on every resource"
            if any("*" in action for action in actions):
                yield f"{name} ({reading}): wildcard in {sorted(actions)}"
            if "cloudwatch:PutMetricData" in actions and "cloudwatch:namespace" not in statement.get("Condition", {}).get("StringEquals", {}):
                yield f"{name} ({reading}): may write metrics of any namespace"
            if "NotAction" in statement or "NotResource" in statement:
                yield f"{name} ({reading}): allows by exclusion"
        for name, role in template.of_type("AWS::IAM::Role").items():
            for arn in role["Properties"].get("ManagedPolicyArns", []):
                policy = str(arn.get("Fn::Sub") if isinstance(arn, dict) else arn).rsplit("/", 1)[-1]
                if policy not in MANAGED:
                    yield f"{name}: managed policy {policy}"


@check
def raw_scans_are_never_written(stack: Stack):
    writes = {"s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"}
    for name, statement in grants(stack.aws):
        actions = set(as_list(statement["Action"]))
        if "RawBucket" in references(statement["Resource"]) and actions & writes:
            yield f"{name}: may {sorted(actions & writes)} raw scans"
        if {a for a in actions if a.startswith("s3:Delete")}:
            yield f"{name}: may delete objects"


@check
def each_program_has_a_role_of_its_own(stack: Stack):
    roles = {name: target(function.get("Role")) for name, function in stack.aws.functions.items()}
    for name, role in roles.items():
        if role != f"{name}Role":
            yield f"{name}: runs as {role}"
        if "Policies" in stack.aws.resources[name]["Properties"]:
            yield f"{name}: SAM would widen its role"
    definitions = stack.aws.of_type("AWS::Batch::JobDefinition")
    jobs = {target(d["Properties"]["ContainerProperties"].get("JobRoleArn")) for d in definitions.values()}
    executions = {target(d["Properties"]["ContainerProperties"].get("ExecutionRoleArn")) for d in definitions.values()}
    instances = {target(r) for profile in stack.aws.of_type("AWS::IAM::InstanceProfile").values() for r in profile["Properties"]["Roles"]}
    if len(jobs) != len(definitions) or None in jobs | executions | instances:
        yield f"job definitions run as {jobs}, {executions}, {instances}"
    if jobs & executions or jobs & instances or executions & instances:
        yield "job, execution and instance role are not three"
    services = {"lambda.amazonaws.com": set(roles.values()), "ecs-tasks.amazonaws.com": jobs | executions, "ec2.amazonaws.com": instances}
    for service, names in services.items():
        for name in names & set(stack.aws.resources):
            trust = stack.aws.resources[name]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            if [s["Principal"] for s in trust] != [{"Service": service}]:
                yield f"{name}: trusts {[s['Principal'] for s in trust]}, not {service}"


@check
def functions_may_read_their_queue_and_write_their_log(stack: Stack):
    needed = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    for name, function in stack.aws.functions.items():
        allowed = [s for role, s in grants(stack.aws) if role == f"{name}Role"]
        for event in function.get("Events", {}).values():
            if event["Type"] == "SQS":
                queue = target(event["Properties"]["Queue"])
                if not any(needed <= set(as_list(s["Action"])) and references(s["Resource"]) == {queue} for s in allowed):
                    yield f"{name}: may not read {queue}"
        log = target(function.get("LoggingConfig", {}).get("LogGroup"))
        if not any("logs:PutLogEvents" in as_list(s["Action"]) and references(s["Resource"]) == {log} for s in allowed):
            yield f"{name}: may not write {log}"
