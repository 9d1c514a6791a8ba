"""Buckets: closed, encrypted, kept, announced."""

import re

from model import as_list, target

from . import Stack, check, statements
from .queues import denies_plain_http

BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


def rules(template, bucket):
    return template.resources[bucket]["Properties"].get("LifecycleConfiguration", {}).get("Rules", [])


def notified(template, bucket):
    return template.resources[bucket]["Properties"].get("NotificationConfiguration", {})


@check
def buckets_are_closed_encrypted_and_kept(stack: Stack):
    buckets = stack.aws.of_type("AWS::S3::Bucket")
    if set(buckets) != {"RawBucket", "PreparedBucket", "ResultsBucket", "StateBucket"}:
        yield f"buckets are {sorted(buckets)}"
    policies = {target(p["Properties"]["Bucket"]): p for p in stack.aws.of_type("AWS::S3::BucketPolicy").values()}
    for name, bucket in buckets.items():
        properties = bucket["Properties"]
        if properties.get("PublicAccessBlockConfiguration") != dict.fromkeys(BLOCKS, True):
            yield f"{name}: public access is not blocked in all four ways"
        if properties.get("OwnershipControls", {}).get("Rules") != [{"ObjectOwnership": "BucketOwnerEnforced"}]:
            yield f"{name}: access lists are not switched off"
        if properties.get("VersioningConfiguration") != {"Status": "Enabled"}:
            yield f"{name}: not versioned"
        for encryption in properties.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [{}]):
            default = encryption.get("ServerSideEncryptionByDefault", {})
            if default.get("SSEAlgorithm") != "aws:kms" or target(default.get("KMSMasterKeyID")) != "Key":
                yield f"{name}: not encrypted with the stack's key"
            if encryption.get("BucketKeyEnabled") is not True:
                yield f"{name}: no bucket key, so that each object costs a request to KMS"
        if (bucket.get("DeletionPolicy"), bucket.get("UpdateReplacePolicy")) != ("Retain", "Retain"):
            yield f"{name}: goes with the stack"
        policy = policies.get(name)
        denials = [s for s in statements(policy) if denies_plain_http(s)] if policy else []
        if not any(len(as_list(s["Resource"])) == 2 and s["Action"] == "s3:*" for s in denials):
            yield f"{name}: plain HTTP is not denied for the bucket and its objects"


@check
def a_key_of_the_users_is_used_everywhere(stack: Stack):
    arn = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
    template = type(stack.aws)(stack.document, on_aws=True, KmsKeyArn=arn)
    if template.of_type("AWS::KMS::Key"):
        yield "a key is created although one is given"
    for name, bucket in template.of_type("AWS::S3::Bucket").items():
        default = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"]
        if default["KMSMasterKeyID"] != arn:
            yield f"{name}: does not use the key that is given"
    if not (key := stack.aws.resources.get("Key")) or key.get("DeletionPolicy") != "Retain" or key["Properties"].get("EnableKeyRotation") is not True:
        yield "Key: goes with the stack or is not rotated"


@check
def notifications_follow_the_contract(stack: Stack):
    keys = (stack.root / "contract/src/keys.rs").read_text()
    constant = dict(re.findall(r'pub const (\w+): &str = "([^"]+)"', keys))
    expected = {
        "RawBucket": ("RawQueue", None),
        "PreparedBucket": ("ReconQueue", constant["PREPARED_ENDING"]),
        "ResultsBucket": ("RefreshQueue", constant["MANIFEST_NAME"]),
    }
    for bucket, (queue, suffix) in expected.items():
        entries = notified(stack.aws, bucket).get("QueueConfigurations", [])
        if [target(entry["Queue"]) for entry in entries] != [queue]:
            yield f"{bucket}: does not notify {queue} alone"
            continue
        if entries[0]["Event"] != "s3:ObjectCreated:*":
            yield f"{bucket}: notifies of {entries[0]['Event']}; every way of creating an object counts"
        filters = entries[0].get("Filter", {}).get("S3Key", {}).get("Rules", [])
        if filters != ([{"Name": "suffix", "Value": suffix}] if suffix else []):
            yield f"{bucket}: filter {filters}, the contract says {suffix}"
        yield from queue_admits_bucket(stack.aws, bucket, queue)
    if notified(stack.aws, "StateBucket") != {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}:
        yield "StateBucket: histories do not wake outcome through EventBridge, which keeps the worklist"


def queue_admits_bucket(template, bucket, queue):
    name = template.resources[bucket]["Properties"]["BucketName"]["Fn::Sub"]
    policy = next(n for n, p in template.of_type("AWS::SQS::QueuePolicy").items() if target(p["Properties"]["Queues"][0]) == queue)
    if template.all_resources[bucket].get("DependsOn") != policy:
        yield f"{bucket}: may be made before {policy} lets it send"
    allowed = [s for s in statements(template.resources[policy]) if s["Effect"] == "Allow" and s["Principal"] == {"Service": "s3.amazonaws.com"}]
    arns = [s.get("Condition", {}).get("ArnEquals", {}).get("aws:SourceArn", {}).get("Fn::Sub") for s in allowed]
    if arns != ["arn:${AWS::Partition}:s3:::" + name]:
        yield f"{queue}: admits {arns}, not {name} alone"
    if any("aws:SourceAccount" not in s["Condition"].get("StringEquals", {}) for s in allowed):
        yield f"{queue}: admits a bucket of that name in another account"


@check
def fsx_owns_the_notifications_of_its_bucket(stack: Stack):
    configuration = notified(stack.fsx, "PreparedBucket")
    if configuration != {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}:
        yield f"PreparedBucket with FSx: {configuration}"
    rule = stack.fsx.resources.get("PreparedRule")
    if not rule or [target(entry["Arn"]) for entry in rule["Properties"]["Targets"]] != ["ReconQueue"]:
        yield "with FSx nothing brings prepared files to the recon queue"
    if "PreparedRule" in stack.aws.resources:
        yield "without FSx prepared files would be announced twice"
    principals = [s for s in statements(stack.fsx.resources["Key"]) if s["Principal"] == {"AWS": "*"}]
    if len(principals) != 1 or not {"StringEquals", "ArnLike"} <= set(principals[0].get("Condition", {})):
        yield "Key: FSx cannot read the prepared bucket, or others can"
    association = stack.fsx.resources.get("PreparedAssociation", {}).get("Properties", {})
    if association.get("S3", {}).get("AutoImportPolicy", {}).get("Events") != ["NEW", "CHANGED"]:
        yield "FSx does not import new and changed files"
    system = stack.fsx.resources.get("FileSystem", {}).get("Properties", {})
    if (system.get("FileSystemTypeVersion"), system.get("LustreConfiguration", {}).get("DeploymentType")) != ("2.15", "SCRATCH_2"):
        yield "FSx is not a scratch file system of Lustre 2.15"


@check
def lifecycles_keep_what_is_needed(stack: Stack):
    for bucket in stack.aws.of_type("AWS::S3::Bucket"):
        aborts = [r["AbortIncompleteMultipartUpload"] for r in rules(stack.aws, bucket) if "AbortIncompleteMultipartUpload" in r and not r.get("Prefix")]
        if aborts != [{"DaysAfterInitiation": 1}]:
            yield f"{bucket}: incomplete uploads are not dropped after a day"
        if any(r["Status"] != "Enabled" for r in rules(stack.aws, bucket)):
            yield f"{bucket}: a rule is switched off"
        if not any("NoncurrentVersionExpiration" in r for r in rules(stack.aws, bucket)):
            yield f"{bucket}: old versions pile up"
    for bucket in ("RawBucket", "ResultsBucket"):
        if any("ExpirationInDays" in r for r in rules(stack.aws, bucket)):
            yield f"{bucket}: scans and images must not expire"
    if any("ExpirationInDays" in r and r.get("Prefix") not in ("claims/", "jobs/") for r in rules(stack.aws, "StateBucket")):
        yield "StateBucket: only claims and jobs may expire; owners tie a name to its file"
    if not any("ExpirationInDays" in r for r in rules(stack.aws, "PreparedBucket")):
        yield "PreparedBucket: prepared files pile up"
    tagged = [{"Key": "reconstructed", "Value": "true"}]
    for rule in (r for r in rules(stack.aws, "RawBucket") if "Transitions" in r):
        if rule.get("TagFilters") != tagged or [t["StorageClass"] for t in rule["Transitions"]] != ["DEEP_ARCHIVE"]:
            yield f"RawBucket: {rule['Id']} archives what may not have been reconstructed, or not to Deep Archive"
    if not any("Transitions" in r for r in rules(stack.aws, "RawBucket")):
        yield "RawBucket: nothing is archived"
    classes = {t["StorageClass"] for r in rules(stack.aws, "ResultsBucket") for t in r.get("Transitions", [])}
    if classes != {"INTELLIGENT_TIERING"} or "IntelligentTieringConfigurations" in stack.aws.resources["ResultsBucket"]["Properties"]:
        yield f"ResultsBucket: moves to {sorted(classes)}; a gateway cannot read archived objects"
