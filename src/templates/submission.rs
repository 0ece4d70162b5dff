//! A submission to Velodrome: gradient descent with momentum under a cosine schedule, as a start.
//! Change the update rule, the schedule and the search space; `verify` tells what you broke.

use velodrome::prelude::*;

pub struct MySubmission;

impl Submission for MySubmission {
    fn describe(&self) -> Description {
        Description {
            name: "my_submission",
            summary: "Momentum with a cosine schedule.",
            paper: "none yet",
            reference: "none yet",
            track: Track::Pretrain,
            rulesets: &[Ruleset::SelfTuning, Ruleset::External],
            // Change it whenever results can change: records of different versions do not mix.
            version: "1",
        }
    }

    /// Name, range and default of each hyperparameter. Self-tuning races take the defaults.
    fn search_space(&self) -> SearchSpace {
        SearchSpace::new()
            .log_uniform("learning_rate", 1e-3, 1.0, 0.05)
            .one_minus_log_uniform("momentum", 0.01, 0.5, 0.9)
    }

    /// One trial begins. The clock runs from here on.
    fn start(&self, trainee: &mut Trainee, context: &StartContext) -> Fallible<Box<dyn Algorithm>> {
        Ok(Box::new(Momentum {
            learning_rate: context.point.get("learning_rate")?,
            momentum: context.point.get("momentum")?,
            // A suggestion of the workload: the steps that a good baseline needs.
            horizon: context.hints.steps as f64,
            // One flat tensor per parameter, in the model's order.
            velocity: trainee.values().iter().map(Tensor::zeros_like).collect(),
        }))
    }
}

struct Momentum {
    learning_rate: f64,
    momentum: f64,
    horizon: f64,
    velocity: Vec<Tensor<1>>,
}

impl Algorithm for Momentum {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Fallible<()> {
        let gradients = trainee.gradients(batch, &PassOptions::default())?.gradients;

        // Half a cosine wave down to a tenth of the rate, which then stays.
        let progress = (context.step as f64 / self.horizon).min(1.0);
        let share = 0.55 + 0.45 * (std::f64::consts::PI * progress).cos();
        let rate = self.learning_rate * share;

        trainee.map(|param, value| {
            let Some(gradient) = gradients.get(param) else {
                return value;
            };
            let velocity = &mut self.velocity[param.index];
            *velocity = velocity.clone().mul_scalar(self.momentum) + gradient;
            value - velocity.clone().mul_scalar(rate)
        });
        Ok(())
    }

    /// Everything that later steps depend on, so that a trial can continue after an interruption.
    /// The step comes with the context; the weights are saved by the harness.
    fn save(&self, state: &mut State) -> Fallible<()> {
        state.put_tensors("velocity", &self.velocity)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Fallible<()> {
        self.velocity = state.get_tensors("velocity", &trainee.device())?;
        Ok(())
    }
}

fn main() -> ExitCode {
    Command::new().submission(MySubmission).run()
}
