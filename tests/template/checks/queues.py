"""Queues, their readers, and the targets of events."""

from model import as_list, number, target

from . import Stack, check, statements

SQS_MAX_VISIBILITY = 43_200
RETENTION = 345_600
DEAD_LETTER_RETENTION = 1_209_600


def sources(template):
    """(function name, event properties) of every SQS event source."""
    for name, function in template.functions.items():
        for event in function.get("Events", {}).values():
            if event["Type"] == "SQS":
                yield name, event["Properties"]


def dead_letters(template):
    """Names of the queues that other things drop into: redrive targets, event targets' and functions' failures."""
    found = {target(q["Properties"].get("RedrivePolicy", {}).get("deadLetterTargetArn")) for q in template.of_type("AWS::SQS::Queue").values()}
    found |= {target(entry["DeadLetterConfig"]["Arn"]) for _, entry in event_targets(template) if "DeadLetterConfig" in entry}
    return found - {None}


def event_targets(template):
    """(name, target entry) of every EventBridge rule, those that SAM writes included."""
    for name, rule in template.of_type("AWS::Events::Rule").items():
        for entry in rule["Properties"]["Targets"]:
            yield name, entry
    for name, function in template.functions.items():
        for label, event in function.get("Events", {}).items():
            if event["Type"] in ("EventBridgeRule", "Schedule"):
                yield f"{name}.{label}", event["Properties"]


@check
def visibility_outlasts_the_function(stack: Stack):
    template = stack.aws
    for name, source in sources(template):
        queue = target(source["Queue"])
        visibility = number(template.resources[queue]["Properties"]["VisibilityTimeout"])
        needed = 6 * template.functions[name]["Timeout"] + source.get("MaximumBatchingWindowInSeconds", 0)
        if not needed <= visibility <= SQS_MAX_VISIBILITY:
            yield f"{queue}: visibility {visibility} s, {name} needs {needed} to {SQS_MAX_VISIBILITY}"


@check
def local_visibility_is_the_parameter(stack: Stack):
    for name, source in sources(stack.local):
        queue = target(source["Queue"])
        if stack.local.resources[queue]["Properties"]["VisibilityTimeout"] != stack.local.parameters["LocalVisibilitySeconds"]:
            yield f"{queue}: the local visibility is not LocalVisibilitySeconds"


@check
def every_queue_has_dead_letters(stack: Stack):
    queues = stack.aws.of_type("AWS::SQS::Queue")
    dead = dead_letters(stack.aws)
    for name, queue in queues.items():
        properties = queue["Properties"]
        if name in dead:
            if properties.get("MessageRetentionPeriod") != DEAD_LETTER_RETENTION:
                yield f"{name}: dead letters are kept {properties.get('MessageRetentionPeriod')} s, not 14 days"
            continue
        if properties.get("MessageRetentionPeriod") != RETENTION:
            yield f"{name}: messages are kept {properties.get('MessageRetentionPeriod')} s, not 4 days"
        redrive = properties.get("RedrivePolicy", {})
        if target(redrive.get("deadLetterTargetArn")) not in queues:
            yield f"{name}: no dead-letter queue"
        if redrive.get("maxReceiveCount", 0) < 5:
            yield f"{name}: given up after {redrive.get('maxReceiveCount')} receives, fewer than 5"


@check
def mappings_answer_item_by_item(stack: Stack):
    for name, source in sources(stack.aws):
        if source.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield f"{name}: one bad message fails its whole batch"
        if not 2 <= source.get("ScalingConfig", {}).get("MaximumConcurrency", 0) <= 1000:
            yield f"{name}: MaximumConcurrency is not 2 to 1,000"
        if "ReservedConcurrentExecutions" in stack.aws.functions[name]:
            yield f"{name}: reserved concurrency makes the poller throw messages back"
        size, window = source["BatchSize"], source.get("MaximumBatchingWindowInSeconds", 0)
        if size > 10 and window < 1:
            yield f"{name}: a batch of {size} needs a batching window"
        if name == "Decompress" and size != 1:
            yield f"{name}: batches of {size}, but one archive can take the whole timeout"
        if name == "Refresh" and (size > 50 or window != 60):
            yield f"{name}: RefreshCache takes 50 folders, requests 60 s apart; the mapping says {size} and {window}"


@check
def submit_waits_for_an_image(stack: Stack):
    def enabled(template):
        return next(source.get("Enabled", True) for name, source in sources(template) if name == "Submit")

    for template, expected in [(stack.aws, False), (stack.with_images, True), (stack.local, True)]:
        if enabled(template) is not expected:
            yield f"Submit: mapping enabled is {enabled(template)}, expected {expected}"


@check
def event_targets_have_dead_letters(stack: Stack):
    for name, entry in [*event_targets(stack.fsx)]:
        queue = target(entry.get("DeadLetterConfig", {}).get("Arn"))
        if queue != "EventsDeadLetterQueue":
            yield f"{name}: undelivered events go to {queue}, not to EventsDeadLetterQueue"
        policy = entry.get("RetryPolicy", {})
        if not {"MaximumEventAgeInSeconds", "MaximumRetryAttempts"} <= set(policy):
            yield f"{name}: no stated retry policy"
    outcome = stack.aws.functions["Outcome"].get("EventInvokeConfig", {}).get("DestinationConfig", {}).get("OnFailure", {})
    if target(outcome.get("Destination")) != "EventsDeadLetterQueue":
        yield "Outcome: a job event it fails on is lost"
    services = [s["Principal"].get("Service") for s in statements(stack.aws.resources["EventsDeadLetterQueuePolicy"]) if s["Effect"] == "Allow"]
    if "events.amazonaws.com" not in services:
        yield "EventsDeadLetterQueue: EventBridge may not send to it"


@check
def queues_and_topic_are_encrypted_and_tls_only(stack: Stack):
    for name, queue in stack.aws.of_type("AWS::SQS::Queue").items():
        if queue["Properties"].get("SqsManagedSseEnabled") is not True and "KmsMasterKeyId" not in queue["Properties"]:
            yield f"{name}: not encrypted"
    for name, topic in stack.aws.of_type("AWS::SNS::Topic").items():
        if "KmsMasterKeyId" not in topic["Properties"]:
            yield f"{name}: not encrypted"
    protected = set()
    for kind, field in [("AWS::SQS::QueuePolicy", "Queues"), ("AWS::SNS::TopicPolicy", "Topics")]:
        for policy in stack.aws.of_type(kind).values():
            if any(denies_plain_http(statement) for statement in statements(policy)):
                protected |= {target(name) for name in as_list(policy["Properties"][field])}
    for name in [*stack.aws.of_type("AWS::SQS::Queue"), *stack.aws.of_type("AWS::SNS::Topic")]:
        if name not in protected:
            yield f"{name}: plain HTTP is not denied"


def denies_plain_http(statement):
    condition = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
    return statement["Effect"] == "Deny" and statement["Principal"] == "*" and condition == "false"
