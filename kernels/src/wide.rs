//! Vector code for the machine that runs it.

/// Calls `task` compiled for this machine's widest registers. Only what is inlined into it is compiled so:
/// closures that come here are `#[inline(always)]`. Products and sums are never fused into one instruction, so
/// that every machine gives the same bits.
#[inline(always)]
pub(crate) fn vectorized<R>(task: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            // SAFETY: the machine has all features that the function is compiled for.
            #[allow(unsafe_code)]
            return unsafe { with_avx512(task) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            #[allow(unsafe_code)]
            return unsafe { with_avx2(task) };
        }
    }
    task()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512<R>(task: impl FnOnce() -> R) -> R {
    task()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<R>(task: impl FnOnce() -> R) -> R {
    task()
}
