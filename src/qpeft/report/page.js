// Saving figures, and printing: everything the page does besides drawing.
const INK = "#1c2026", PAPER = "#ffffff", WIDTH = 900;

const plain = (text) => {
  const broken = String(text ?? "").replace(/<br\s*\/?>/g, " ");
  return new DOMParser().parseFromString(broken, "text/html").body.textContent;
};

const heading = (axis, otherwise) => plain(axis?.title?.text).replace(/ \(logarithmic\)$/, "") || otherwise;

const cell = (value) => {
  const text = value === null || value === undefined ? "" : typeof value === "number" ? String(value) : plain(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

// The same columns as qpeft.report.traces writes: trace, x, y, and the lengths of error bars where there are any.
const lengths = (bar) => {
  if (!bar || bar.visible === false || !bar.array?.length) return [[], []];
  return [bar.symmetric || !bar.arrayminus ? bar.array : bar.arrayminus, bar.array];
};

const csvOf = (plot) => {
  const [x, y] = [heading(plot.layout.xaxis, "x"), heading(plot.layout.yaxis, "y")];
  const fields = ["trace", x, y, `${x} minus`, `${x} plus`, `${y} minus`, `${y} plus`];
  const rows = plot.data.flatMap((trace) => {
    const bars = [...lengths(trace.error_x), ...lengths(trace.error_y)];
    const points = Math.min(trace.x?.length ?? 0, trace.y?.length ?? 0);
    return Array.from({length: points}, (_, i) => [trace.name, trace.x[i], trace.y[i], ...bars.map((bar) => bar[i])]);
  });
  const kept = fields.map((_, place) => place).filter((place) => place < 3 || rows.some((row) => cell(row[place])));
  return [fields, ...rows].map((row) => kept.map((place) => cell(row[place])).join(",")).join("\n") + "\n";
};

const save = (plot, name, format) => {
  if (format === "csv") {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csvOf(plot)], {type: "text/csv"}));
    link.download = `${name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    return;
  }
  // On white paper in dark ink, whichever the reader's screen has.
  const copy = JSON.parse(JSON.stringify({data: plot.data, layout: plot.layout}));
  Object.assign(copy.layout, {paper_bgcolor: PAPER, plot_bgcolor: PAPER, width: WIDTH});
  copy.layout.font = {...copy.layout.font, color: INK};
  Plotly.downloadImage(copy, {format, filename: name, width: WIDTH, height: plot.layout.height, scale: 2});
};

document.querySelectorAll(".export").forEach((group) => {
  group.hidden = false;
  group.addEventListener("click", ({target}) => {
    const {format, figure} = target.dataset;
    if (format) save(document.getElementById(`figure-${figure}`), figure, format);
  });
});

// On paper everything is open, and figures fit the width of the sheet.
const opened = [];
addEventListener("beforeprint", () => {
  document.querySelectorAll("details:not([open])").forEach((part) => { part.open = true; opened.push(part); });
  document.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.relayout(plot, {width: 640}));
});
addEventListener("afterprint", () => {
  opened.splice(0).forEach((part) => { part.open = false; });
  document.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.relayout(plot, {width: null, autosize: true}));
});
