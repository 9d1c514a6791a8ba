//! The program `raki-cloud`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
