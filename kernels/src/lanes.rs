//! Eight numbers in a register, for sums that must stay in registers.

/// How many.
pub(crate) const LANES: usize = 8;

/// Eight numbers. An implementation for a machine's own registers is used in functions that are compiled for
/// these alone.
pub(crate) trait Lanes: Copy {
    fn splat(x: f32) -> Self;
    fn load(x: &[f32; LANES]) -> Self;
    fn values(self) -> [f32; LANES];
    /// `self + a b`.
    fn add_product(self, a: Self, b: Self) -> Self;
}

impl Lanes for [f32; LANES] {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        [x; LANES]
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        *x
    }

    #[inline(always)]
    fn values(self) -> [f32; LANES] {
        self
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] + a[i] * b[i])
    }
}

/// The registers of AVX2.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2(std::arch::x86_64::__m256);

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
impl Lanes for Avx2 {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: used in functions that are compiled for AVX2 (see the trait), as all below.
        Self(unsafe { std::arch::x86_64::_mm256_set1_ps(x) })
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        // SAFETY: eight numbers lie there; the load needs no alignment.
        Self(unsafe { std::arch::x86_64::_mm256_loadu_ps(x.as_ptr()) })
    }

    #[inline(always)]
    fn values(self) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        // SAFETY: there is room for eight numbers; the store needs no alignment.
        unsafe { std::arch::x86_64::_mm256_storeu_ps(out.as_mut_ptr(), self.0) };
        out
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: used in functions that are compiled for FMA too.
        Self(unsafe { std::arch::x86_64::_mm256_fmadd_ps(a.0, b.0, self.0) })
    }
}

/// Defines a function `$name(arguments)` that calls `$body::<L>(arguments)` with the registers of this machine.
macro_rules! by_registers {
    ($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        fn $name($($argument: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $kind),*) {
                    $body::<crate::lanes::Avx2>($($argument),*);
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the machine has what the function is compiled for.
                    #[allow(unsafe_code)]
                    return unsafe { avx2($($argument),*) };
                }
            }
            $body::<[f32; crate::lanes::LANES]>($($argument),*);
        }
    };
}
pub(crate) use by_registers;
