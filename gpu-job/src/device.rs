//! Where networks are trained.

use contract::DevicePreference;
use contract::manifest::Decision;

use crate::error::JobError;
use crate::raki::{Backend, Cpu};

/// A backend and how it came to be chosen.
pub struct Chosen {
    /// The backend, for the rest of the process: what a failed device holds cannot be given back, and cudarc panics at the attempt, which
    /// would take the place of the error to report.
    pub backend: &'static dyn Backend,
    /// Its name in the manifest: `cpu` or `cuda:0`.
    pub name: String,
    /// The choice and its reason.
    pub decision: Decision,
}

/// Finds the device that is asked for. [`DevicePreference::Auto`] falls back to the CPU and says why.
///
/// # Errors
/// [`JobError::Usage`] when CUDA is asked for and there is none.
pub fn choose(preference: DevicePreference) -> Result<Chosen, JobError> {
    match preference {
        DevicePreference::Cpu => Ok(cpu("as requested".to_owned())),
        DevicePreference::Auto => Ok(cuda().map_or_else(cpu, |backend| on_cuda(backend, "a CUDA driver answered"))),
        DevicePreference::Cuda => match cuda() {
            Ok(backend) => Ok(on_cuda(backend, "as requested")),
            Err(reason) => {
                Err(JobError::Usage(format!("device cuda cannot be used: {reason}; or choose --device cpu")))
            }
        },
    }
}

fn cpu(reason: String) -> Chosen {
    let name = "cpu".to_owned();
    let decision = Decision { what: "device".to_owned(), choice: name.clone(), reason };
    Chosen { backend: &Cpu, name, decision }
}

fn on_cuda(backend: &'static dyn Backend, reason: &str) -> Chosen {
    let name = "cuda:0".to_owned();
    let decision = Decision { what: "device".to_owned(), choice: name.clone(), reason: reason.to_owned() };
    Chosen { backend, name, decision }
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<&'static dyn Backend, String> {
    Err("this program was built without CUDA, build it with --features cuda".to_owned())
}

/// The first GPU, the same at every call.
#[cfg(feature = "cuda")]
fn cuda() -> Result<&'static dyn Backend, String> {
    static FOUND: std::sync::OnceLock<Result<&'static dyn Backend, String>> = std::sync::OnceLock::new();
    FOUND.get_or_init(find_cuda).clone()
}

/// The driver is looked for before candle is asked, since candle panics without one.
#[cfg(feature = "cuda")]
fn find_cuda() -> Result<&'static dyn Backend, String> {
    const DRIVER: &str = "libcuda.so.1";
    // SAFETY: the driver is a system library whose initialisers are run by every program that uses CUDA.
    unsafe { libloading::Library::new(DRIVER) }
        .map_err(|_| format!("no CUDA driver ({DRIVER}) was found, install driver 580 or newer"))?;
    let backend = || {
        let device = candle_core::Device::new_cuda(0)
            .map_err(|error| format!("the CUDA driver refused the first GPU ({error})"))?;
        let backend = crate::raki::TensorBackend::new(device);
        backend
            .map(|backend| Box::leak(Box::new(backend)) as _)
            .map_err(|error| format!("the first GPU cannot be used ({error})"))
    };
    // A missing cuBLAS, cuFFT or cuRAND is a panic as well.
    std::panic::catch_unwind(backend).unwrap_or_else(|_| {
        Err("a CUDA library is missing, install libcublas, libcufft and libcurand of CUDA 13".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there() {
        let chosen = choose(DevicePreference::Cpu).unwrap();
        assert_eq!((chosen.name.as_str(), chosen.decision.choice.as_str()), ("cpu", "cpu"));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_cuda_auto_says_why_it_took_the_cpu_and_cuda_is_refused_with_advice() {
        let chosen = choose(DevicePreference::Auto).unwrap();
        assert_eq!(chosen.name, "cpu");
        assert!(chosen.decision.reason.contains("--features cuda"), "{}", chosen.decision.reason);
        let Err(error) = choose(DevicePreference::Cuda) else { panic!("cuda without cuda") };
        assert_eq!(error.exit(), contract::ExitCode::Usage);
        assert!(error.to_string().contains("--device cpu"), "{error}");
    }
}
