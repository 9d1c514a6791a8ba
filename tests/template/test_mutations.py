"""The template broken in one place at a time: the check that is there for it must complain."""

import copy

import pytest
from checks import CHECKS, Stack

DROP = object()
R = "Resources"
P = "Properties"


def function_variable(function, name):
    return (R, function, P, "Environment", "Variables", name)


def statement(role, sid):
    return (R, role, P, "Policies", 0, "PolicyDocument", "Statement", sid)


# (check, path, new value). A DROP takes the entry away.
MUTATIONS = [
    ("visibility_outlasts_the_function", (R, "Decompress", P, "Timeout"), 901),
    ("visibility_outlasts_the_function", (R, "RawQueue", P, "VisibilityTimeout"), {"Fn::If": ["OnAws", 5399, {"Ref": "LocalVisibilitySeconds"}]}),
    ("visibility_outlasts_the_function", (R, "RawQueue", P, "VisibilityTimeout"), 43_201),
    ("visibility_outlasts_the_function", (R, "Refresh", P, "Events", "Results", P, "MaximumBatchingWindowInSeconds"), 61),
    ("local_visibility_is_the_parameter", (R, "ReconQueue", P, "VisibilityTimeout"), 360),
    ("every_queue_has_dead_letters", (R, "RawQueue", P, "RedrivePolicy"), DROP),
    ("every_queue_has_dead_letters", (R, "RawQueue", P, "RedrivePolicy", "maxReceiveCount"), 4),
    ("every_queue_has_dead_letters", (R, "ReconDeadLetterQueue", P, "MessageRetentionPeriod"), 345_600),
    ("every_queue_has_dead_letters", (R, "EventsDeadLetterQueue", P, "MessageRetentionPeriod"), DROP),
    ("mappings_answer_item_by_item", (R, "Submit", P, "Events", "Recon", P, "FunctionResponseTypes"), DROP),
    ("mappings_answer_item_by_item", (R, "Decompress", P, "Events", "Raw", P, "BatchSize"), 2),
    ("mappings_answer_item_by_item", (R, "Decompress", P, "ReservedConcurrentExecutions"), 5),
    ("mappings_answer_item_by_item", (R, "Refresh", P, "Events", "Results", P, "ScalingConfig", "MaximumConcurrency"), 1),
    ("submit_waits_for_an_image", (R, "Submit", P, "Events", "Recon", P, "Enabled"), DROP),
    ("event_targets_have_dead_letters", (R, "Metrics", P, "Events", "EveryMinute", P, "DeadLetterConfig"), DROP),
    ("event_targets_have_dead_letters", (R, "Outcome", P, "EventInvokeConfig", "DestinationConfig"), DROP),
    ("event_targets_have_dead_letters", (R, "JobFailedRule", P, "Targets", 0, "RetryPolicy"), DROP),
    ("event_targets_have_dead_letters", (R, "PreparedRule", P, "Targets", 0, "DeadLetterConfig"), DROP),
    ("queues_and_topic_are_encrypted_and_tls_only", (R, "RawQueue", P, "SqsManagedSseEnabled"), False),
    ("queues_and_topic_are_encrypted_and_tls_only", (R, "AlarmTopic", P, "KmsMasterKeyId"), DROP),
    ("queues_and_topic_are_encrypted_and_tls_only", (R, "RefreshDeadLetterQueuePolicy"), DROP),
    ("buckets_are_closed_encrypted_and_kept", (R, "StateBucket", "DeletionPolicy"), "Delete"),
    ("buckets_are_closed_encrypted_and_kept", (R, "RawBucket", P, "PublicAccessBlockConfiguration", "BlockPublicPolicy"), False),
    ("buckets_are_closed_encrypted_and_kept", (R, "RawBucket", P, "VersioningConfiguration"), DROP),
    ("buckets_are_closed_encrypted_and_kept", (R, "ResultsBucket", P, "OwnershipControls"), DROP),
    ("buckets_are_closed_encrypted_and_kept", (R, "PreparedBucket", P, "BucketEncryption"), DROP),
    ("buckets_are_closed_encrypted_and_kept", (R, "RawBucketPolicy", P, "PolicyDocument", "Statement", 0, "Effect"), "Allow"),
    ("buckets_are_closed_encrypted_and_kept", (R, "RawBucketPolicy", P, "PolicyDocument", "Statement", 0, "Resource"), {"Fn::GetAtt": ["RawBucket", "Arn"]}),
    ("a_key_of_the_users_is_used_everywhere", (R, "Key", "Condition"), "OnAws"),
    ("notifications_follow_the_contract", (R, "RawBucket", "DependsOn"), DROP),
    ("notifications_follow_the_contract", (R, "StateBucket", P, "NotificationConfiguration"), DROP),
    ("notifications_follow_the_contract", (R, "ResultsBucket", P, "NotificationConfiguration", "QueueConfigurations", 0, "Filter"), DROP),
    ("notifications_follow_the_contract", (R, "RawBucket", P, "NotificationConfiguration", "QueueConfigurations", 0, "Event"), "s3:ObjectCreated:Put"),
    ("notifications_follow_the_contract", (R, "RawQueuePolicy", P, "PolicyDocument", "Statement", 1, "Condition", "ArnEquals"), DROP),
    ("fsx_owns_the_notifications_of_its_bucket", (R, "PreparedRule", "Condition"), "OnAws"),
    ("fsx_owns_the_notifications_of_its_bucket", (R, "PreparedBucket", P, "NotificationConfiguration", "Fn::If", 1), {"Ref": "AWS::NoValue"}),
    ("fsx_owns_the_notifications_of_its_bucket", (R, "Key", P, "KeyPolicy", "Statement", 3, "Fn::If", 1, "Condition", "ArnLike"), DROP),
    ("fsx_owns_the_notifications_of_its_bucket", (R, "FileSystem", P, "LustreConfiguration", "DeploymentType"), "SCRATCH_1"),
    ("fsx_owns_the_notifications_of_its_bucket", (R, "PreparedAssociation", P, "S3"), DROP),
    ("lifecycles_keep_what_is_needed", (R, "RawBucket", P, "LifecycleConfiguration", "Rules", 2, "TagFilters"), DROP),
    ("lifecycles_keep_what_is_needed", (R, "RawBucket", P, "LifecycleConfiguration", "Rules", 0), DROP),
    ("lifecycles_keep_what_is_needed", (R, "ResultsBucket", P, "LifecycleConfiguration", "Rules", 2, "Transitions", 0, "StorageClass"), "DEEP_ARCHIVE"),
    ("lifecycles_keep_what_is_needed", (R, "StateBucket", P, "LifecycleConfiguration", "Rules", 2, "Prefix"), "owners/"),
    ("lifecycles_keep_what_is_needed", (R, "RawBucket", P, "LifecycleConfiguration", "Rules", 2, "ExpirationInDays"), 365),
    ("functions_stay_within_lambdas_limits", (R, "Decompress", P, "MemorySize"), 10_241),
    ("functions_stay_within_lambdas_limits", (R, "Decompress", P, "EphemeralStorage"), DROP),
    ("functions_stay_within_lambdas_limits", ("Globals", "Function", "Tracing"), DROP),
    ("functions_stay_within_lambdas_limits", function_variable("Decompress", "RAKI_TIME_RESERVE_SECONDS"), "90"),
    ("functions_are_programs_of_the_package", (R, "Submit", P, "FunctionName"), {"Fn::Sub": "${AWS::StackName}-hand-over"}),
    ("functions_are_programs_of_the_package", (R, "Scale"), DROP),
    ("variables_are_those_the_programs_read", function_variable("Submit", "RAKI_SUBMIT_QUICKLY"), "1"),
    ("variables_are_those_the_programs_read", function_variable("Submit", "RAKI_JOB_QUEUE"), DROP),
    ("jobs_get_the_variables_of_their_programs", (R, "ReconstructDefinition", P, "ContainerProperties", "Environment", 0), DROP),
    ("jobs_get_the_variables_of_their_programs", (R, "PrepareDefinition", P, "ContainerProperties", "Environment", 1), DROP),
    ("every_log_is_kept_for_a_stated_time", (R, "JobLogs", P, "RetentionInDays"), DROP),
    ("every_log_is_kept_for_a_stated_time", (R, "Refresh", P, "LoggingConfig"), DROP),
    ("wildcards_only_where_aws_has_no_resources", (*statement("DecompressRole", "ReadRaw"), "Resource"), "*"),
    ("wildcards_only_where_aws_has_no_resources", (*statement("DecompressRole", "ReadRaw"), "Action"), "s3:*"),
    ("wildcards_only_where_aws_has_no_resources", (*statement("MetricsRole", "Publish"), "Condition"), DROP),
    ("wildcards_only_where_aws_has_no_resources", (R, "InstanceRole", P, "ManagedPolicyArns", 0), {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AdministratorAccess"}),
    ("raw_scans_are_never_written", (*statement("OutcomeRole", "MarkReconstructed"), "Action"), "s3:PutObject"),
    ("raw_scans_are_never_written", (*statement("SubmitRole", "ReadPrepared"), "Action"), "s3:DeleteObject"),
    ("each_program_has_a_role_of_its_own", (R, "Submit", P, "Role"), {"Fn::GetAtt": ["DecompressRole", "Arn"]}),
    ("each_program_has_a_role_of_its_own", (R, "PrepareDefinition", P, "ContainerProperties", "JobRoleArn"), {"Fn::GetAtt": ["ExecutionRole", "Arn"]}),
    ("each_program_has_a_role_of_its_own", (R, "Submit", P, "Policies"), ["AmazonS3FullAccess"]),
    ("functions_may_read_their_queue_and_write_their_log", statement("SubmitRole", "Receive"), DROP),
    ("functions_may_read_their_queue_and_write_their_log", statement("ScaleRole", "Log"), DROP),
    ("retries_follow_the_exit_codes", (R, "ReconstructDefinition", P, "RetryStrategy", "EvaluateOnExit", 3, "OnExitCode"), "70"),
    ("retries_follow_the_exit_codes", (R, "PrepareDefinition", P, "RetryStrategy", "EvaluateOnExit", 4), DROP),
    ("retries_follow_the_exit_codes", (R, "PrepareDefinition", P, "RetryStrategy", "Attempts"), 1),
    ("jobs_have_limits", (R, "PrepareDefinition", P, "Timeout"), DROP),
    ("jobs_have_limits", ("Parameters", "GpuJobMemoryMiB", "Default"), 16_384),
    ("jobs_have_limits", (R, "PrepareDefinition", P, "ContainerProperties", "ResourceRequirements", 1, "Value"), "4096"),
    ("jobs_have_limits", (R, "GpuQueue", P, "JobStateTimeLimitActions", 1), DROP),
    ("jobs_have_limits", (R, "PrepareQueue", P, "JobStateTimeLimitActions", 0, "MaxTimeSeconds"), 300),
    ("images_are_named_by_digest", (R, "ReconstructDefinition", P, "ContainerProperties", "Image"), {"Fn::Sub": "${Images.RepositoryUri}:latest"}),
    ("images_are_named_by_digest", ("Parameters", "GpuImageDigest", "AllowedPattern"), DROP),
    ("instances_are_spot_first_and_locked_down", (R, "GpuQueue", P, "ComputeEnvironmentOrder", 0, "Order"), 3),
    ("instances_are_spot_first_and_locked_down", (R, "SpotEnvironment", P, "ComputeResources", "Ec2Configuration"), DROP),
    ("instances_are_spot_first_and_locked_down", (R, "OnDemandEnvironment", P, "ComputeResources", "LaunchTemplate", "Version"), "$Latest"),
    ("instances_are_spot_first_and_locked_down", (R, "OnDemandEnvironment", P, "ComputeResources", "MaxvCpus"), 256),
    ("instances_are_spot_first_and_locked_down", (R, "GpuLaunchTemplate", P, "LaunchTemplateData", "MetadataOptions", "HttpTokens"), "optional"),
    ("instances_are_spot_first_and_locked_down", (R, "GpuLaunchTemplate", P, "LaunchTemplateData", "BlockDeviceMappings", 0, "Ebs", "Encrypted"), False),
    ("instances_are_spot_first_and_locked_down", ("Parameters", "InstanceFamilies", "Default"), "g4dn,g5g"),
    ("batch_network_lets_nothing_in", (R, "BatchSecurityGroup", P, "SecurityGroupIngress"), [{"CidrIp": "0.0.0.0/0", "IpProtocol": "-1"}]),
    ("batch_network_lets_nothing_in", (R, "BatchSecurityGroup", P, "SecurityGroupEgress"), DROP),
    ("batch_network_lets_nothing_in", (R, "LustreIn", P, "SourceSecurityGroupId"), DROP),
    ("batch_network_lets_nothing_in", (R, "SubnetA", "Condition"), "OnAws"),
    ("dead_letters_and_waiting_raise_alarms", (R, "EventsDeadLetterAlarm"), DROP),
    ("dead_letters_and_waiting_raise_alarms", (R, "RawDeadLetterAlarm", P, "Threshold"), 2),
    ("dead_letters_and_waiting_raise_alarms", (R, "ReconQueueAgeAlarm", P, "Threshold"), 900),
    ("functions_and_jobs_raise_alarms", (R, "ScaleThrottlesAlarm"), DROP),
    ("functions_and_jobs_raise_alarms", (R, "DecompressSlowAlarm", P, "Threshold"), 48_000),
    ("functions_and_jobs_raise_alarms", (R, "JobFailedRule", P, "EventPattern", "detail", "$or", 1, "container", "exitCode", 0, "anything-but"), [65, 70]),
    ("functions_and_jobs_raise_alarms", (R, "JobQueueBlockedRule", P, "Targets", 0, "Arn"), {"Fn::GetAtt": ["EventsDeadLetterQueue", "Arn"]}),
    ("alarms_reach_someone_and_have_stable_names", (R, "JobsFailedAlarm", P, "AlarmActions"), DROP),
    ("alarms_reach_someone_and_have_stable_names", (R, "RawQueueAgeAlarm", P, "TreatMissingData"), DROP),
    ("alarms_reach_someone_and_have_stable_names", (R, "RawQueueAgeAlarm", P, "AlarmName"), {"Fn::Sub": "${AWS::StackName}-recon-queue-age"}),
    ("the_dashboard_shows_queues_functions_and_jobs", (R, "Dashboard", P, "DashboardBody"), {"Fn::Sub": '{"widgets": []}'}),
    ("the_dashboard_shows_queues_functions_and_jobs", (R, "Dashboard", P, "DashboardBody"), {"Fn::Sub": '{"widgets": [}'}),
    ("the_encrypted_topic_can_be_reached", (R, "Key", P, "KeyPolicy", "Statement", 2, "Condition"), {"StringEquals": {"aws:SourceAccount": "1"}}),
    ("the_encrypted_topic_can_be_reached", (R, "AlarmTopicPolicy", P, "PolicyDocument", "Statement", 0, "Condition"), DROP),
    ("only_what_the_emulator_lacks_is_for_aws_only", (R, "RawQueue", "Condition"), "OnAws"),
    ("only_what_the_emulator_lacks_is_for_aws_only", (R, "GpuQueue", "Condition"), DROP),
    ("no_reference_leads_nowhere", function_variable("Submit", "RAKI_JOB_QUEUE"), {"Ref": "GpuQueue"}),
    ("no_reference_leads_nowhere", ("Outputs", "ImageRepositoryUri", "Condition"), DROP),
    ("local_names_are_those_of_the_emulators_batch", (*function_variable("Scale", "RAKI_JOB_QUEUE"), "Fn::If", 2), "gpu"),
    ("variables_are_text", function_variable("Decompress", "RAKI_TIME_RESERVE_SECONDS"), 135),
    ("parameters_are_used_described_and_grouped", ("Parameters", "Seed", "Description"), DROP),
    ("parameters_are_used_described_and_grouped", ("Parameters", "Unused"), {"Type": "String", "Default": "", "Description": "Nothing."}),
    ("parameters_are_used_described_and_grouped", ("Parameters", "Method", "Default"), DROP),
]  # fmt: skip


def step_into(holder, step):
    """The key or index of a step; a text in a list is the Sid of a statement."""
    if isinstance(holder, list) and isinstance(step, str):
        return next(index for index, item in enumerate(holder) if item.get("Sid") == step)
    return step


def changed(document, path, value):
    document = copy.deepcopy(document)
    *parents, last = path
    holder = document
    for step in parents:
        holder = holder[step_into(holder, step)]
    last = step_into(holder, last)
    if value is DROP:
        del holder[last]
    else:
        assert not (isinstance(holder, dict) and holder.get(last) == value), f"{path} is {value} already"
        holder[last] = value
    return document


@pytest.mark.parametrize(("name", "path", "value"), MUTATIONS, ids=lambda part: ".".join(map(str, part)) if isinstance(part, tuple) else None)
def test_a_broken_template_is_noticed(name, path, value, document, stack):
    known = set(CHECKS[name](stack))
    broken = Stack(changed(document, path, value))
    try:
        found = set(CHECKS[name](broken))
    except (KeyError, IndexError, StopIteration) as error:
        # A part that a check takes for granted is gone: that fails the test of the whole template as well.
        found = {f"{type(error).__name__}: {error}"}
    assert found - known, f"{name} did not notice that {'.'.join(map(str, path))} changed"


def test_every_check_has_been_seen_to_fail():
    assert set(CHECKS) == {name for name, _, _ in MUTATIONS}
