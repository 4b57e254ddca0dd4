"""A race, step by step: for the tests in a browser, and for those in an interpreter."""

# What the script sees at each step; a race asks for it at every tenth.
STEPS = """({train, test, inputs}, settings, norm, steps) => {
  const net = bnRace.network(norm, settings, inputs, Math.max(settings.batch, test.labels.length));
  const next = bnRace.sampler(train.labels.length, settings.batch, settings.seed);
  return Array.from({length: steps + 1}, () => {
    const rows = next();
    const x = Float64Array.from(
      rows.flatMap(n => [...train.x.slice(n * inputs, (n + 1) * inputs)]));
    const loss = bnRace.learn(net, x, Uint8Array.from(rows, n => train.labels[n]));
    const seen = bnRace.look(net, settings.batch, test);
    const logits = Array.from(bnRace.forward(net, test.x, 1, false).slice(0, 10));
    bnRace.update(net, settings.rate);
    return {loss, ...seen, logits};
  });
}"""
