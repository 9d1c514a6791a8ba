"""Alarms and the dashboard."""

import json
import re

from model import number, target

from . import Stack, check, statements
from .queues import dead_letters, event_targets, sources


def alarms(template, metric, dimension):
    """Logical id watched → properties, of the alarms on one metric."""
    found = {}
    for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
        properties = alarm["Properties"]
        if properties.get("MetricName") == metric:
            found |= {target(d["Value"]): properties for d in properties["Dimensions"] if d["Name"] == dimension}
    return found


@check
def dead_letters_and_waiting_raise_alarms(stack: Stack):
    depth = alarms(stack.aws, "ApproximateNumberOfMessagesVisible", "QueueName")
    for queue in dead_letters(stack.aws):
        if queue not in depth or depth[queue]["Threshold"] != 1:
            yield f"{queue}: the first dead letter raises no alarm"
    age = alarms(stack.aws, "ApproximateAgeOfOldestMessage", "QueueName")
    for _, source in sources(stack.aws):
        if (queue := target(source["Queue"])) not in age:
            yield f"{queue}: waiting raises no alarm"
    promise = stack.aws.parameters["LatencyTargetSeconds"]
    if age.get("ReconQueue", {}).get("Threshold") != promise:
        yield f"ReconQueue: the alarm is not at the promise of {promise} s"


@check
def functions_and_jobs_raise_alarms(stack: Stack):
    for metric, statistic in [("Errors", "Sum"), ("Throttles", "Sum")]:
        watched = alarms(stack.aws, metric, "FunctionName")
        for name in stack.aws.functions:
            alarm = watched.get(name, {})
            if (alarm.get("Threshold"), alarm.get("Statistic")) != (1, statistic):
                yield f"{name}: {metric} raise no alarm"
    slow = alarms(stack.aws, "Duration", "FunctionName")
    for name, function in stack.aws.functions.items():
        alarm, limit = slow.get(name, {}), 800 * function["Timeout"]
        if (alarm.get("Threshold"), alarm.get("ExtendedStatistic")) != (limit, "p99"):
            yield f"{name}: alarm at {alarm.get('Threshold')} ms, 80 % of the timeout is {limit}"
    jobs = alarms(stack.aws, "TriggeredRules", "RuleName").get("JobFailedRule", {})
    if jobs.get("Threshold") != 1:
        yield "a failed job raises no alarm"
    for rule in ("JobFailedRule", "JobQueueBlockedRule"):
        if [target(entry["Arn"]) for name, entry in event_targets(stack.aws) if name == rule] != ["AlarmTopic"]:
            yield f"{rule}: tells nobody"
    detail = stack.aws.resources["JobFailedRule"]["Properties"]["EventPattern"]["detail"]
    codes = [way["container"]["exitCode"][0].get("anything-but") for way in detail["$or"]]
    table = json.loads((stack.root / "events/contract/exit-codes.json").read_text())
    refused = [int(code) for code, (_, disposition) in table.items() if disposition == "reject"]
    if [code for code in codes if code is not None] != [refused]:
        yield f"JobFailedRule: silent for exit codes {codes}; what is quarantined is {refused}"


@check
def alarms_reach_someone_and_have_stable_names(stack: Stack):
    names = []
    for name, alarm in stack.aws.of_type("AWS::CloudWatch::Alarm").items():
        properties = alarm["Properties"]
        if [target(action) for action in properties.get("AlarmActions", [])] != ["AlarmTopic"]:
            yield f"{name}: tells nobody"
        if properties.get("TreatMissingData") != "notBreaching":
            yield f"{name}: what missing data means is not stated, or an idle stack alarms"
        label = properties.get("AlarmName", {}).get("Fn::Sub", "")
        names.append(label)
        if not re.fullmatch(r"\$\{AWS::StackName\}-[a-z-]+", label):
            yield f"{name}: has no stable name of its own"
        if not properties.get("AlarmDescription"):
            yield f"{name}: says nothing"
    for label in {label for label in names if names.count(label) > 1}:
        yield f"two alarms are called {label}"


@check
def the_dashboard_shows_queues_functions_and_jobs(stack: Stack):
    body = stack.aws.resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    shown = {name.split(".")[0] for name in re.findall(r"\$\{([^}]+)\}", body)}
    wanted = {*stack.aws.functions, *stack.aws.of_type("AWS::SQS::Queue"), "JobFailedRule"}
    if wanted - shown:
        yield f"the dashboard lacks {sorted(wanted - shown)}"
    try:
        widgets = json.loads(body)["widgets"]
    except (ValueError, KeyError) as error:
        yield f"the dashboard is not JSON with widgets: {error}"
        return
    spots = [(w["x"], w["y"]) for w in widgets]
    if len(set(spots)) != len(spots) or any(w["x"] + w["width"] > 24 for w in widgets):
        yield "widgets of the dashboard overlap or leave its 24 columns"


@check
def the_encrypted_topic_can_be_reached(stack: Stack):
    """Of both senders: EventBridge sends no source keys to KMS or SNS, so that a condition would silence it."""
    for holder in ("Key", "AlarmTopicPolicy"):
        allowed = {s["Principal"]["Service"]: s for s in statements(stack.aws.resources[holder]) if s["Effect"] == "Allow" and "Service" in s["Principal"]}
        if set(allowed) != {"cloudwatch.amazonaws.com", "events.amazonaws.com"}:
            yield f"{holder}: admits {sorted(allowed)}"
            continue
        if "Condition" in allowed["events.amazonaws.com"]:
            yield f"{holder}: EventBridge would be refused"
        if "aws:SourceAccount" not in allowed["cloudwatch.amazonaws.com"].get("Condition", {}).get("StringEquals", {}):
            yield f"{holder}: admits the alarms of any account"
