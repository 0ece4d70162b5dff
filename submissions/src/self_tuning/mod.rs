//! Algorithms that learn beside the weights what others fix from outside: the shape of a
//! reparameterisation, or hyperparameters of regularisation.

pub mod weight_compander;
