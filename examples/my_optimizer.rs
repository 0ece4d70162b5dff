//! A submission outside Velodrome's crates: signSGD with momentum under a cosine schedule. Race it:
//! `cargo run --release --example my_optimizer -- run smoke -s my_optimizer -s adamw`
use velodrome::prelude::*;

struct MyOptimizer;
impl Submission for MyOptimizer {
    fn describe(&self) -> Description {
        Description {
            name: "my_optimizer",
            summary: "The sign of a momentum, with a cosine schedule.",
            paper: "arXiv 1802.04434",
            reference: "algorithm 2 of the paper",
            track: Track::Pretrain,
            rulesets: &[Ruleset::SelfTuning, Ruleset::External],
            version: "1",
        }
    }
    fn search_space(&self) -> SearchSpace {
        let space = SearchSpace::new().log_uniform("learning_rate", 1e-5, 1e-2, 1e-3);
        space.one_minus_log_uniform("beta", 0.02, 0.5, 0.9)
    }
    fn start(&self, trainee: &mut Trainee, context: &StartContext) -> Fallible<Box<dyn Algorithm>> {
        let trial = context.clone();
        let momentum = trainee.values().iter().map(Tensor::zeros_like).collect();
        Ok(Box::new(SignMomentum { trial, momentum }))
    }
}

struct SignMomentum {
    trial: StartContext,
    momentum: Vec<Tensor<1>>, // one per parameter, flat
}

impl Algorithm for SignMomentum {
    fn update(&mut self, model: &mut Trainee, batch: &Batch, now: &StepContext) -> Fallible<()> {
        let grads = model.gradients(batch, &PassOptions::default())?.gradients;
        let progress = now.step as f64 / self.trial.hints.steps as f64;
        let cosine = (1.0 + (std::f64::consts::PI * progress.min(0.9)).cos()) / 2.0;
        let rate = self.trial.point.get("learning_rate")? * cosine;
        let beta = self.trial.point.get("beta")?;
        model.map(|p, value| {
            let Some(g) = grads.get(p) else { return value };
            let m = &mut self.momentum[p.index];
            *m = m.clone() * beta + g * (1.0 - beta);
            value - m.clone().sign() * rate
        });
        Ok(())
    }
    fn save(&self, state: &mut State) -> Fallible<()> {
        state.put_tensors("momentum", &self.momentum)
    }
    fn load(&mut self, state: &State, model: &Trainee) -> Fallible<()> {
        self.momentum = state.get_tensors("momentum", &model.device())?;
        Ok(())
    }
}

fn main() -> ExitCode {
    Command::new().submission(MyOptimizer).run()
}
