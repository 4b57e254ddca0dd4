/* Train two networks by turns on the digits: in a worker, or in slices on the page itself.

   Arrays are flat, with a row for each sample; weights W have a row for each output, as PyTorch's.
   Names are those of the notation table. Nothing here touches a document. */
(function (scope) {
  "use strict";
  const [WIDTH, CLASSES, EPS, MOMENTUM] = [32, 10, 1e-5, 0.1];
  const EVERY = 10; // steps from one frame to the next
  const SHOWN = 10; // test images whose answers are in a frame
  // An activation, its slope from its output, and its slope at zero (of ReLU the quadratic mean).
  const ACTIVATIONS = {
    sigmoid: [(y) => 1 / (1 + Math.exp(-y)), (a) => a * (1 - a), 1 / 4],
    tanh: [Math.tanh, (a) => 1 - a * a, 1],
    relu: [(y) => Math.max(0, y), (a) => (a > 0 ? 1 : 0), Math.SQRT1_2],
  };

  /* Numbers between 0 and 1 that a seed decides: Lehmer's generator. */
  function generator(seed) {
    let state = 1 + seed * 1000003;
    const draw = () => (state = (state * 48271) % 2147483647) / 2147483647;
    draw();
    return draw;
  }

  /* Images as rows of mean 0 and deviation 1 over all training pixels: two pixels are a byte. */
  function decode({ labels, pixels, train }) {
    const bytes = Array.from(atob(pixels), (character) => character.charCodeAt(0));
    return images(bytes.flatMap((byte) => [byte >> 4, byte & 15]), labels, train);
  }

  function images(values, labels, train) {
    const inputs = values.length / labels.length;
    const known = values.slice(0, train * inputs);
    const mean = known.reduce((sum, v) => sum + v, 0) / known.length;
    const deviation = Math.sqrt(known.reduce((sum, v) => sum + (v - mean) ** 2, 0) / known.length);
    const x = Float64Array.from(values, (v) => (v - mean) / deviation);
    const digits = Uint8Array.from(labels, Number);
    const part = (from, to) => ({
      x: x.subarray(from * inputs, to * inputs),
      labels: digits.subarray(from, to),
    });
    return { inputs, train: part(0, train), test: part(train, digits.length) };
  }

  /* -------------------------------------------------------------------------------------------
     A network: its layers, each with room for what passes through it
     ------------------------------------------------------------------------------------------- */

  /* The factor of the initial weights with which a layer passes on what differs: unit gain.
     PyTorch's weights are uniform in +-1/sqrt(inputs), of variance 1/(3 inputs). */
  const goodScale = (activation) => Math.sqrt(3) / ACTIVATIONS[activation][2];

  /* norm is "none", "batch", "layer", or "weights": none, but good initial weights. */
  function network(norm, { activation, scale, depth, seed }, inputs, rows) {
    const draw = generator(2 * seed); // the same for every norm
    const factor = norm === "weights" ? goodScale(activation) : scale;
    const widths = [inputs, ...Array(depth).fill(WIDTH), CLASSES];
    return widths.slice(1).map((outs, i) => {
      const [ins, hidden] = [widths[i], i < depth];
      const bound = 1 / Math.sqrt(ins);
      const uniform = (count, factor) =>
        Float64Array.from({ length: count }, () => factor * bound * (2 * draw() - 1));
      const numbers = (count, value = 0) => new Float64Array(count).fill(value);
      return {
        ...{ ins, outs, norm: hidden && norm in AXES ? norm : "none" },
        activation: hidden ? activation : null,
        ...{ W: uniform(outs * ins, hidden ? factor : 1), b: uniform(outs, 1) },
        ...{ gamma: numbers(outs, 1), beta: numbers(outs) },
        ...{ runningMean: numbers(outs), runningVar: numbers(outs, 1) },
        ...{ dW: numbers(outs * ins), db: numbers(outs) },
        ...{ dgamma: numbers(outs), dbeta: numbers(outs) },
        ...{ z: numbers(rows * outs), xhat: numbers(rows * outs), a: numbers(rows * outs) },
        ...{ d: numbers(rows * outs), r: numbers(Math.max(rows, outs)) },
      };
    });
  }

  // Which numbers share a mean: how many sets there are, how many numbers in each, how far it is
  // from set to set, and from number to number.
  const AXES = {
    batch: (rows, units) => [units, rows, 1, units],
    layer: (rows, units) => [rows, units, units, 1],
  };

  /* xhat = (z - mu) r, with mu and r = 1 / sqrt(var + eps) of each set. */
  function standardize({ norm, outs, z, xhat, r, runningMean, runningVar }, rows, training) {
    const [sets, count, apart, step] = AXES[norm](rows, outs);
    for (let s = 0; s < sets; s++) {
      const [start, end] = [s * apart, s * apart + count * step];
      let mu = 0;
      let variance = 0;
      if (training || norm === "layer") {
        for (let i = start; i < end; i += step) mu += z[i];
        mu /= count;
        for (let i = start; i < end; i += step) variance += (z[i] - mu) ** 2;
        variance /= count;
      } else {
        mu = runningMean[s];
        variance = runningVar[s];
      }
      if (training && norm === "batch") {
        runningMean[s] += MOMENTUM * (mu - runningMean[s]);
        runningVar[s] += MOMENTUM * ((variance * count) / (count - 1) - runningVar[s]);
      }
      r[s] = 1 / Math.sqrt(variance + EPS);
      for (let i = start; i < end; i += step) xhat[i] = (z[i] - mu) * r[s];
    }
  }

  /* From the gradient at y to that at z, in place: without the mean, and the part along xhat. */
  function through({ norm, outs, xhat, r, gamma, dgamma, dbeta, d }, rows) {
    dgamma.fill(0);
    dbeta.fill(0);
    for (let i = 0; i < rows * outs; i++) {
      const unit = i % outs;
      dgamma[unit] += d[i] * xhat[i];
      dbeta[unit] += d[i];
      d[i] *= gamma[unit];
    }
    const [sets, count, apart, step] = AXES[norm](rows, outs);
    for (let s = 0; s < sets; s++) {
      const [start, end] = [s * apart, s * apart + count * step];
      let ones = 0;
      let along = 0;
      for (let i = start; i < end; i += step) {
        ones += d[i];
        along += d[i] * xhat[i];
      }
      ones /= count;
      along /= count;
      for (let i = start; i < end; i += step) d[i] = r[s] * (d[i] - ones - xhat[i] * along);
    }
  }

  /* The sum of products of two rows. All rows are multiples of four long, and four sums at once
     need not wait for each other. */
  function dot(p, i, q, j, length) {
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (const end = i + length; i < end; i += 4, j += 4) {
      s0 += p[i] * q[j];
      s1 += p[i + 1] * q[j + 1];
      s2 += p[i + 2] * q[j + 2];
      s3 += p[i + 3] * q[j + 3];
    }
    return s0 + s1 + (s2 + s3);
  }

  /* Add a multiple of one row to another. */
  function add(p, i, factor, q, j, length) {
    for (const end = i + length; i < end; i += 4, j += 4) {
      p[i] += factor * q[j];
      p[i + 1] += factor * q[j + 1];
      p[i + 2] += factor * q[j + 2];
      p[i + 3] += factor * q[j + 3];
    }
  }

  /* z = x W^T + b, normalized, activated: the outputs are in layer.a. */
  function forwardLayer(layer, x, rows, training) {
    const { ins, outs, W, b, z, a, norm, xhat, gamma, beta, activation } = layer;
    for (let n = 0; n < rows; n++) {
      for (let o = 0; o < outs; o++) {
        z[n * outs + o] = b[o] + dot(W, o * ins, x, n * ins, ins);
      }
    }
    if (norm !== "none") standardize(layer, rows, training);
    const activate = activation ? ACTIVATIONS[activation][0] : (y) => y;
    for (let i = 0; i < rows * outs; i++) {
      a[i] = activate(norm === "none" ? z[i] : gamma[i % outs] * xhat[i] + beta[i % outs]);
    }
    return a;
  }

  const forward = (net, x, rows, training) =>
    net.reduce((a, layer) => forwardLayer(layer, a, rows, training), x);

  /* From the gradient at a layer's outputs, in layer.d, to those of its parameters, and to that
     at its inputs, which are the outputs of the layer before it, if there is one. */
  function backwardLayer(layer, x, before, rows) {
    const { ins, outs, W, dW, db, a, d, norm, activation } = layer;
    if (activation) {
      const slope = ACTIVATIONS[activation][1];
      for (let i = 0; i < rows * outs; i++) d[i] *= slope(a[i]);
    }
    if (norm !== "none") through(layer, rows);
    dW.fill(0);
    db.fill(0);
    if (before) before.d.fill(0);
    for (let n = 0; n < rows; n++) {
      for (let o = 0; o < outs; o++) {
        const slope = d[n * outs + o];
        db[o] += slope;
        add(dW, o * ins, slope, x, n * ins, ins);
        if (before) add(before.d, n * ins, slope, W, o * ins, ins);
      }
    }
  }

  /* The mean cross-entropy of a batch; all gradients are in the layers then. */
  function learn(net, x, labels) {
    const [rows, last] = [labels.length, net.at(-1)];
    const logits = forward(net, x, rows, true);
    let loss = 0;
    for (let n = 0; n < rows; n++) {
      const row = logits.subarray(n * CLASSES, (n + 1) * CLASSES);
      const most = Math.max(...row);
      const sum = row.reduce((total, v) => total + Math.exp(v - most), 0);
      loss += (most + Math.log(sum) - row[labels[n]]) / rows;
      for (let c = 0; c < CLASSES; c++) {
        last.d[n * CLASSES + c] = (Math.exp(row[c] - most) / sum - (c === labels[n])) / rows;
      }
    }
    for (let i = net.length - 1; i >= 0; i--) {
      backwardLayer(net[i], i ? net[i - 1].a : x, net[i - 1], rows);
    }
    return loss;
  }

  /* A step of gradient descent. */
  function update(net, rate) {
    for (const layer of net) {
      for (const name of ["W", "b", "gamma", "beta"]) {
        const [values, slopes] = [layer[name], layer[`d${name}`]];
        for (let i = 0; i < values.length; i++) values[i] -= rate * slopes[i];
      }
    }
  }

  /* -------------------------------------------------------------------------------------------
     What is seen of it
     ------------------------------------------------------------------------------------------- */

  /* How much a unit's output differs from sample to sample, averaged over the units. */
  function signal({ a, outs }, rows) {
    let total = 0;
    for (let o = 0; o < outs; o++) {
      let [mean, square] = [0, 0];
      for (let n = 0; n < rows; n++) mean += a[n * outs + o] / rows;
      for (let n = 0; n < rows; n++) square += (a[n * outs + o] - mean) ** 2 / rows;
      total += Math.sqrt(square) / outs;
    }
    return total;
  }

  /* The length of the gradient of a layer's weights. */
  const gradient = ({ dW }) => Math.sqrt(dW.reduce((sum, v) => sum + v * v, 0));

  /* What is seen of a network behind a batch: its layers, then its answers in evaluation mode. */
  function look(net, rows, { x, labels }) {
    const hidden = net.slice(0, -1);
    const seen = { signal: hidden.map((layer) => signal(layer, rows)), gradient: hidden.map(gradient) };
    const logits = forward(net, x, labels.length, false);
    const answers = Array.from(labels, (_, n) => {
      const row = logits.subarray(n * CLASSES, (n + 1) * CLASSES);
      return row.indexOf(Math.max(...row));
    });
    const right = answers.filter((digit, n) => digit === labels[n]).length;
    return { ...seen, accuracy: right / labels.length, answers: answers.slice(0, SHOWN) };
  }

  /* -------------------------------------------------------------------------------------------
     The race
     ------------------------------------------------------------------------------------------- */

  /* Rows of each batch in turn: all images in a random order, then in another one. */
  function sampler(count, batch, seed) {
    const draw = generator(2 * seed + 1);
    const order = Array.from({ length: count }, (_, i) => i);
    let at = count;
    return () => {
      if (at + batch > count) {
        for (let i = count - 1; i > 0; i--) {
          const j = Math.floor(draw() * (i + 1));
          [order[i], order[j]] = [order[j], order[i]];
        }
        at = 0;
      }
      return order.slice(at, (at += batch));
    };
  }

  /* Train without and with. After each network's share of a step it yields: a frame, what is seen
     of both after so many steps, or nothing. */
  function* train(settings, { inputs, train, test }, steps) {
    const { rival, rate, batch, seed } = settings;
    const rows = Math.max(batch, test.labels.length);
    const nets = ["none", rival].map((norm) => network(norm, settings, inputs, rows));
    const next = sampler(train.labels.length, batch, seed);
    const x = new Float64Array(batch * inputs);
    let losses = [];
    for (let step = 0; step <= steps; step++) {
      const chosen = next();
      chosen.forEach((row, n) => x.set(train.x.subarray(row * inputs, (row + 1) * inputs), n * inputs));
      const labels = Uint8Array.from(chosen, (row) => train.labels[row]);
      const pair = [];
      for (const net of nets) {
        pair.push(learn(net, x, labels));
        yield;
      }
      losses.push(pair);
      if (step % EVERY === 0) {
        const seen = nets.map((net) => look(net, batch, test));
        const frame = {
          step,
          loss: nets.map((_, arm) => losses.reduce((sum, pair) => sum + pair[arm], 0) / losses.length),
        };
        for (const name of Object.keys(seen[0])) frame[name] = seen.map((one) => one[name]);
        losses = [];
        yield frame;
      }
      for (const net of nets) update(net, rate);
    }
  }

  /* Train in slices of so many milliseconds; returns what ends it. */
  function run(settings, digits, steps, slice, tell) {
    const training = train(settings, digits, steps);
    let timer = setTimeout(work);
    function work() {
      const end = Date.now() + slice;
      while (Date.now() < end) {
        const { done, value } = training.next();
        if (done) return;
        if (value) tell(value);
      }
      timer = setTimeout(work);
    }
    return () => clearTimeout(timer);
  }

  scope.bnRace = { decode, images, network, sampler, forward, learn, look, update, train, run };

  if (typeof document === "undefined" && typeof importScripts === "function") {
    importScripts("digits.js");
    const digits = decode(scope.bnDigits);
    let stop = () => {};
    scope.onmessage = ({ data: { id, settings, steps } }) => {
      stop();
      if (settings) stop = run(settings, digits, steps, 100, (frame) => postMessage({ id, frame }));
    };
  }
})(globalThis);
