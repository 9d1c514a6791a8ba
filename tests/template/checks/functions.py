"""Functions: limits, programs, variables, logs."""

import re
import tomllib

from model import target

from . import Stack, check

# Lambda quotas: seconds, MB of memory, MB of /tmp.
MAX_TIMEOUT, MAX_MEMORY, MAX_SCRATCH = 900, 10_240, 10_240


@check
def functions_stay_within_lambdas_limits(stack: Stack):
    for name, function in stack.aws.functions.items():
        if not 1 <= function["Timeout"] <= MAX_TIMEOUT or not 128 <= function["MemorySize"] <= MAX_MEMORY:
            yield f"{name}: {function['Timeout']} s and {function['MemorySize']} MB"
        if function["Runtime"] != "provided.al2023" or function["Architectures"] != ["x86_64"] or function["Handler"] != "bootstrap":
            yield f"{name}: not a program for x86_64 on Amazon Linux 2023"
        if function.get("Tracing") != "Active":
            yield f"{name}: not traced"
    big = stack.aws.functions["Decompress"]
    if (big["Timeout"], big["MemorySize"], big.get("EphemeralStorage", {}).get("Size")) != (MAX_TIMEOUT, MAX_MEMORY, MAX_SCRATCH):
        yield "Decompress: does not have all that Lambda gives"
    reserve = int(big["Environment"]["Variables"]["RAKI_TIME_RESERVE_SECONDS"])
    if reserve * 100 < 15 * big["Timeout"]:
        yield f"Decompress: {reserve} s are less than 15 % of its timeout"


@check
def functions_are_programs_of_the_package(stack: Stack):
    manifest = tomllib.loads((stack.root / "functions/Cargo.toml").read_text())
    programs = {entry["name"] for entry in manifest.get("bin", [])}
    programs |= {path.stem for path in (stack.root / "functions/src/bin").glob("*.rs")}
    # The one program that is no function: the same preparation in a container.
    expected = programs - {"prepare-job"}
    if {name.lower() for name in stack.aws.functions} != expected:
        yield f"functions are {sorted(stack.aws.functions)}, programs {sorted(expected)}"
    if "prepare-job" not in programs:
        yield "the program of the prepare job is missing"
    makefile = (stack.root / "functions/Makefile").read_text()
    built = dict(re.findall(r"^build-(\w+): BIN := (\S+)$", makefile, re.M))
    if built != {name: name.lower() for name in stack.aws.functions}:
        yield f"functions/Makefile builds {built}"
    for name, resource in stack.aws.of_type("AWS::Serverless::Function").items():
        if (resource.get("Metadata"), resource["Properties"]["CodeUri"]) != ({"BuildMethod": "makefile"}, "functions/"):
            yield f"{name}: is not built by functions/Makefile"
        if resource["Properties"].get("FunctionName") != {"Fn::Sub": f"${{AWS::StackName}}-{name.lower()}"}:
            yield f"{name}: its name is not the stack's and the program's"


def read_by(stack, program):
    """The variables that a program reads: its `VARIABLES`, which a unit test of the package holds to its reader."""
    source = (stack.root / "functions/src/config.rs").read_text()
    struct = "".join(part.capitalize() for part in program.split("-"))
    listed = re.search(rf"^impl {struct} \{{.*?const VARIABLES: &\[&str\] = &\[(.*?)\];", source, re.M | re.S)
    return set(re.findall(r'"(RAKI_[A-Z_]+)"', listed.group(1))) if listed else set()


@check
def variables_are_those_the_programs_read(stack: Stack):
    for reading in ("aws", "local"):
        for name, function in stack.readings[reading].functions.items():
            given = {v for v in function["Environment"]["Variables"] if v.startswith("RAKI_")}
            wanted = read_by(stack, name.lower())
            if not wanted:
                yield f"{name}: functions/src/config.rs lists no variables of it"
            if given - wanted:
                yield f"{name} ({reading}): {sorted(given - wanted)} is set and never read"
            if wanted - given:
                yield f"{name} ({reading}): {sorted(wanted - given)} is read and never set"
            if "RUST_LOG" not in function["Environment"]["Variables"]:
                yield f"{name}: its log level is not set"


@check
def jobs_get_the_variables_of_their_programs(stack: Stack):
    gpu_job = (stack.root / "gpu-job/src/config.rs").read_text()
    wanted = {
        "PrepareDefinition": read_by(stack, "prepare-job"),
        "ReconstructDefinition": set(re.findall(r'text\("(RAKI_[A-Z_]+)"\)', gpu_job)),
    }
    for name, variables in wanted.items():
        environment = stack.aws.resources[name]["Properties"]["ContainerProperties"]["Environment"]
        given = {entry["Name"] for entry in environment}
        if {v for v in given if v.startswith("RAKI_")} != variables:
            yield f"{name}: is given {sorted(given)}, its program reads {sorted(variables)}"
        if not {"AWS_REGION", "RUST_LOG"} <= given:
            yield f"{name}: lacks AWS_REGION, which ECS on EC2 does not set, or RUST_LOG"


@check
def every_log_is_kept_for_a_stated_time(stack: Stack):
    groups = stack.aws.of_type("AWS::Logs::LogGroup")
    for name, group in groups.items():
        if group["Properties"].get("RetentionInDays") != stack.aws.parameters["LogDays"]:
            yield f"{name}: kept for ever, or not for LogDays"
    for name, function in stack.aws.functions.items():
        logging = function.get("LoggingConfig", {})
        if target(logging.get("LogGroup")) != f"{name}Logs" or f"{name}Logs" not in groups:
            yield f"{name}: logs to a group that nobody limits"
        if logging.get("LogFormat") != "JSON":
            yield f"{name}: does not log JSON"
    for name, definition in stack.aws.of_type("AWS::Batch::JobDefinition").items():
        log = definition["Properties"]["ContainerProperties"].get("LogConfiguration", {})
        if log.get("LogDriver") != "awslogs" or target(log.get("Options", {}).get("awslogs-group")) not in groups:
            yield f"{name}: logs to a group that nobody limits"
