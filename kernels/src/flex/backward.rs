//! Gradients.

use super::*;

impl Backwards for Flex {
    fn function_backward(
        gradient: FloatTensor<Self>,
        kept: FloatTensor<Self>,
        function: Function,
    ) -> FloatTensor<Self> {
        let kept = kept.to_contiguous();
        changed(gradient, |g| function.backward(g, values(&kept)))
    }

    fn map_input_backward(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [gradient, weight] = [gradient, weight].map(|t| t.to_contiguous());
        let inputs = weight.layout().shape().iter().next().copied().unwrap_or(1);
        let sizes = map_sizes(&gradient, inputs, last(&gradient));
        let of_x = linear::input_gradient(sizes, values(&gradient), values(&weight));
        with_last(of_x, &gradient, inputs)
    }

    fn map_weight_backward(gradient: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self> {
        let [gradient, x] = [gradient, x].map(|t| t.to_contiguous());
        let sizes = map_sizes(&x, last(&x), last(&gradient));
        let of_weight = linear::weight_gradient(sizes, values(&gradient), values(&x));
        let shape = [sizes.inputs, sizes.outputs];
        FlexTensor::from_data(TensorData::new(of_weight, shape))
    }

    fn map_bias_backward(gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let gradient = gradient.to_contiguous();
        let outputs = last(&gradient);
        let of_bias = linear::bias_gradient(values(&gradient), outputs);
        FlexTensor::from_data(TensorData::new(of_bias, [outputs]))
    }

    fn softmax_backward(
        gradient: FloatTensor<Self>,
        value: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let value = value.to_contiguous();
        changed(gradient, |g| {
            rows::softmax_backward(g, values(&value), last(&value));
        })
    }

    fn norm_backward(
        gradient: FloatTensor<Self>,
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        norm: Norm,
        epsilon: f64,
    ) -> [FloatTensor<Self>; 3] {
        let [x, scale] = [x, scale].map(|t| t.to_contiguous());
        let mut of = (Vec::new(), Vec::new());
        let gradient = changed(gradient, |g| {
            of = rows::norm_backward(norm, g, values(&x), values(&scale), epsilon as f32);
        });
        [gradient, tensor(of.0, &scale), tensor(of.1, &scale)]
    }

    fn normalize_backward(
        gradient: FloatTensor<Self>,
        inputs: [FloatTensor<Self>; 3],
        epsilon: f64,
    ) -> [FloatTensor<Self>; 3] {
        let [x, moments, scale] = inputs.map(|t| t.to_contiguous());
        let (sizes, epsilon) = (planes(&x), epsilon as f32);
        let mut of = [Vec::new(), Vec::new()];
        let gradient = changed(gradient, |g| {
            let [x, moments, scale] = [&x, &moments, &scale].map(values);
            of = planes::normalize_backward(sizes, g, x, moments, scale, epsilon);
        });
        let [of_scale, of_shift] = of;
        [gradient, tensor(of_scale, &scale), tensor(of_shift, &scale)]
    }

    fn attention_backward(
        gradient: FloatTensor<Self>,
        inputs: [FloatTensor<Self>; 4],
        heads: Heads,
    ) -> [FloatTensor<Self>; 3] {
        let gradient = gradient.to_contiguous();
        let inputs = inputs.map(|t| t.to_contiguous());
        let (sizes, mask) = sizes(&inputs, heads);
        let [query, key, value, _] = inputs.each_ref().map(values);
        let of = attention_backward(sizes, [query, key, value], mask, values(&gradient));
        let mut inputs = inputs.iter();
        of.map(|of| match inputs.next() {
            Some(like) => tensor(of, like),
            None => gradient.clone(),
        })
    }

    fn entropy_backward(
        gradient: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        smoothing: f64,
    ) -> FloatTensor<Self> {
        let [gradient, logits] = [gradient, logits].map(|t| t.to_contiguous());
        let of = cross_entropy_backward(
            values(&gradient),
            values(&logits),
            &classes(&labels),
            last(&logits),
            smoothing as f32,
        );
        tensor(of, &logits)
    }

    fn convolve_backward(
        gradient: FloatTensor<Self>,
        inputs: [FloatTensor<Self>; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        wanted: bool,
    ) -> (Option<FloatTensor<Self>>, [FloatTensor<Self>; 2]) {
        let gradient = gradient.to_contiguous();
        let [x, weight] = inputs.map(|t| t.to_contiguous());
        let shape = shape(&x, &weight, stride, padding);
        let [of_out, of_x, kernel] = [&gradient, &x, &weight].map(values);
        let input = wanted.then(|| convolution::input_gradient(&shape, of_out, kernel));
        let of_weight = convolution::weight_gradient(&shape, of_out, of_x);
        let of_bias = convolution::bias_gradient(&shape, of_out);
        let outputs = of_bias.len();
        let of_bias = FlexTensor::from_data(TensorData::new(of_bias, [outputs]));
        (
            input.map(|input| tensor(input, &x)),
            [tensor(of_weight, &weight), of_bias],
        )
    }

    fn recur_all(inputs: FloatTensor<Self>, weights: FloatTensor<Self>) -> [FloatTensor<Self>; 3] {
        let [inputs, weights] = [inputs, weights].map(|t| t.to_contiguous());
        let mut sizes = recurrence(&inputs);
        let whole: Vec<usize> = inputs.layout().shape().iter().copied().collect();
        sizes.hidden /= 4;
        let mut narrow = whole.clone();
        if let Some(last) = narrow.last_mut() {
            *last /= 4;
        }
        let [states, gates, cells] = lstm::forward(&sizes, values(&inputs), values(&weights));
        [(states, narrow.clone()), (gates, whole), (cells, narrow)]
            .map(|(values, shape)| FlexTensor::from_data(TensorData::new(values, shape)))
    }

    fn recur_backward(
        gradient: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        all: [FloatTensor<Self>; 3],
    ) -> [FloatTensor<Self>; 2] {
        let [gradient, weights] = [gradient, weights].map(|t| t.to_contiguous());
        let all = all.map(|t| t.to_contiguous());
        let sizes = recurrence(&all[0]);
        let parts = all.each_ref().map(values);
        let [inputs, kernel] = lstm::backward(&sizes, values(&gradient), values(&weights), parts);
        [tensor(inputs, &all[1]), tensor(kernel, &weights)]
    }

    fn connect_all(
        logits: FloatTensor<Self>,
        integers: [IntTensor<Self>; 3],
    ) -> [FloatTensor<Self>; 2] {
        let logits = logits.to_contiguous();
        let integers = integers.map(|t| classes(&t));
        let (losses, gradient) = utterances(&logits, &integers).losses_and_gradient();
        let examples = losses.len();
        let losses = FlexTensor::from_data(TensorData::new(losses, [examples]));
        [losses, tensor(gradient, &logits)]
    }

    fn scale_examples(x: FloatTensor<Self>, factors: FloatTensor<Self>) -> FloatTensor<Self> {
        let factors = factors.to_contiguous();
        changed(x, |x| ctc::scale(x, values(&factors)))
    }

    fn convolve_channels_backward(
        gradient: FloatTensor<Self>,
        inputs: [FloatTensor<Self>; 2],
        padding: usize,
    ) -> [FloatTensor<Self>; 2] {
        let gradient = gradient.to_contiguous();
        let [x, weight] = inputs.map(|t| t.to_contiguous());
        let (_, sizes) = channels(&x, &weight, padding);
        let [of_out, of_x, kernel] = [&gradient, &x, &weight].map(values);
        let input = depthwise::input_gradient(&sizes, of_out, kernel);
        let of_weight = depthwise::weight_gradient(&sizes, of_out, of_x);
        [tensor(input, &x), tensor(of_weight, &weight)]
    }
}
