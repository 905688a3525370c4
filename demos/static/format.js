// How a language writes numbers and times of day.

/** Give `{number(value, options), time(ms)}` for a language; `options` are those of Intl.NumberFormat. */
export function formatter(language) {
  // Creating a formatter costs more than formatting a thousand numbers, and the lab formats many.
  const numbers = new Map();
  const clock = new Intl.DateTimeFormat(language, { timeStyle: "medium" });
  return {
    number(value, options) {
      const key = JSON.stringify(options) ?? "";
      if (!numbers.has(key)) numbers.set(key, new Intl.NumberFormat(language, options));
      return numbers.get(key).format(value);
    },
    time: (ms) => clock.format(ms),
  };
}
