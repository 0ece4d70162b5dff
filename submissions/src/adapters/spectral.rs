//! LoRA that starts from the weight itself: PiSSA, OLoRA, and the orthogonal start.
//!
//! All three are [`super::lora`] with other initial factors. PiSSA and OLoRA take a part of the weight
//! into the factors and freeze what is left, `W - s A B`, so that the adapted weight is `W` up to
//! rounding at the start.
//!
//! - PiSSA (`init_lora_weights` = `pissa`): the `r` largest singular values, `W = U S V^T`:
//!   `A = U_r sqrt(S_r / s)`, `B = sqrt(S_r / s) V_r^T`. The directions that matter most are trained.
//! - OLoRA (`olora`): a QR decomposition of `W^T` (`[d_out, d_in]`): `B = (Q_r)^T`, `A = (R_r)^T`.
//! - `orthogonal`: `A` and `B^T`'s rows are the even and odd rows of one random orthogonal matrix of
//!   `r` by `r`, times random matrices, divided by 10; nothing is taken from the weight. `r` is even.
//!
//! Trained: as LoRA, `r (d_in + d_out)`. `r` may not exceed the shorter side of the weight.
//!
//! Decompositions are computed on the host in 64 bits. A file of PEFT's that says `pissa` or `olora`
//! refers to the whole weight, and is read as such.
//!
//! Sources: Meng, Wang and Zhang, "PiSSA", arXiv 2404.02948; Büyükakyüz, "OLoRA", arXiv 2406.01775;
//! Hugging Face PEFT 0.21.2, `tuners/lora/layer.py` (`pissa_init`, `olora_init`, `orthogonal_init`).

use super::lora::Lora;
use super::{Draw, Factor, MethodError, Options, Pair, Parts, Race};
use crate::linalg::{to_device, to_host};
use burn::tensor::Tensor;
use nalgebra::DMatrix;
use serde_json::json;

/// Where the factors come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Pissa,
    Olora,
    Orthogonal,
}

#[derive(Debug, Clone)]
struct Spectral {
    lora: Lora,
    source: Source,
}

/// The pair that `init_lora_weights` names.
pub(super) fn start(options: &Options, lora: Lora) -> Result<Box<dyn Pair>, MethodError> {
    let source = match options.word("init_lora_weights", "") {
        // The values of these do not change what a saved adapter computes.
        "" | "gaussian" | "eva" | "mica" | "true" => return Ok(Box::new(lora)),
        "pissa" => Source::Pissa,
        "olora" => Source::Olora,
        "orthogonal" => Source::Orthogonal,
        _ => {
            let wanted = "true, false, `gaussian`, `pissa`, `olora`, `orthogonal` or `eva`";
            return Err(options.wrong("init_lora_weights", wanted));
        }
    };
    if source != Source::Orthogonal {
        lora.shape.at_most("r", lora.rank, lora.shape.short())?;
    }
    Ok(Box::new(Spectral { lora, source }))
}

impl Spectral {
    /// `A` and `B` of the given weight, without the scale's part.
    fn parts(&self, base: &Tensor<2>) -> Result<(Tensor<2>, Tensor<2>), MethodError> {
        let (rank, scale, device) = (self.lora.rank, self.lora.scale, base.device());
        let (a, b) = match self.source {
            Source::Pissa => {
                let missing = MethodError::Decomposition("singular values");
                let host = to_host(base.clone()).ok_or(missing.clone())?;
                let found = host.svd(true, true);
                let (Some(u), Some(vt)) = (found.u, found.v_t) else {
                    return Err(missing);
                };
                let mut order: Vec<usize> = (0..found.singular_values.len()).collect();
                let size = |i: &usize| found.singular_values[*i];
                order.sort_by(|i, j| size(j).total_cmp(&size(i)));
                order.truncate(rank);
                let mut a = u.select_columns(&order);
                let mut b = vt.select_rows(&order);
                for (k, i) in order.iter().enumerate() {
                    let root = (size(i) / scale).sqrt();
                    a.column_mut(k).scale_mut(root);
                    b.row_mut(k).scale_mut(root);
                }
                (a, b)
            }
            Source::Olora => {
                let missing = MethodError::Decomposition("QR decomposition");
                let host = to_host(base.clone().transpose()).ok_or(missing)?;
                let found = host.qr();
                let q: DMatrix<f64> = found.q().columns(0, rank).into_owned();
                let r: DMatrix<f64> = found.r().rows(0, rank).into_owned();
                (r.transpose(), q.transpose())
            }
            Source::Orthogonal => {
                return Err(MethodError::Decomposition("part in an orthogonal start"));
            }
        };
        Ok((to_device(&a, &device), to_device(&b, &device)))
    }

    /// PEFT's split of a random orthogonal matrix.
    fn orthogonal(
        &self,
        base: &Tensor<2>,
        draw: &mut Draw,
    ) -> Result<(Tensor<2>, Tensor<2>), MethodError> {
        let (rank, shape, device) = (self.lora.rank, self.lora.shape, base.device());
        if !rank.is_multiple_of(2) {
            return Err(MethodError::Option {
                option: "r".into(),
                value: rank.to_string(),
                wanted: "even for an orthogonal start",
            });
        }
        let missing = MethodError::Decomposition("QR decomposition");
        let square = draw.normal([rank, rank], 1.0, &device);
        let q = to_host(square).ok_or(missing)?.qr().q();
        let odd: Vec<usize> = (0..rank / 2).map(|i| 2 * i + 1).collect();
        let even: Vec<usize> = (0..rank / 2).map(|i| 2 * i).collect();
        let (odd, even) = (q.select_rows(&odd), q.select_rows(&even));
        let (odd, even) = (to_device(&odd, &device), to_device(&even, &device));
        let a = draw
            .normal([shape.d_in, rank / 2], 1.0, &device)
            .matmul(odd);
        let b = draw
            .normal([shape.d_out, rank / 2], 1.0, &device)
            .matmul(even);
        Ok((a.div_scalar(10.0), b.transpose().div_scalar(10.0)))
    }
}

impl Parts for Spectral {
    fn trained(&self) -> Vec<Factor> {
        self.lora.trained()
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        let mut factors = self.lora.initial(base, draw)?;
        let (a, b) = match self.source {
            Source::Orthogonal => self.orthogonal(base, draw)?,
            _ => self.parts(base)?,
        };
        factors[0] = a;
        factors[1] = b;
        Ok(factors)
    }

    fn frozen(&self, base: Tensor<2>) -> Result<Tensor<2>, MethodError> {
        if self.source == Source::Orthogonal {
            return Ok(base);
        }
        let (a, b) = self.parts(&base)?;
        Ok(base - a.matmul(b).mul_scalar(self.lora.scale))
    }

    fn bias(&self, bias: Tensor<1>, factors: &[Tensor<2>]) -> Tensor<1> {
        self.lora.bias(bias, factors)
    }
}

impl Pair for Spectral {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        self.lora.pair(factors)
    }
}

/// How it races.
pub(super) const RACE_PISSA: Race = Race {
    summary: "LoRA that starts at the weight's leading singular triplets",
    paper: "arXiv 2404.02948",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "lora_alpha": s.rank(), "init_lora_weights": "pissa"}),
    learning_rate: [1e-4, 1e-2, 1e-3],
};

/// How it races.
pub(super) const RACE_OLORA: Race = Race {
    summary: "LoRA that starts at the weight's leading orthogonal factors",
    paper: "arXiv 2406.01775",
    size: Race::RANK,
    options: |s| json!({"r": s.rank(), "lora_alpha": s.rank(), "init_lora_weights": "olora"}),
    learning_rate: [1e-4, 1e-2, 1e-3],
};
