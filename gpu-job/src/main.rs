//! The program `gpu-job`; everything is in the library.

fn main() -> std::process::ExitCode {
    gpu_job::cli::main().into()
}
