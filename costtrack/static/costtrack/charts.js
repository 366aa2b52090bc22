// Draws what billing.admin.components.charts describes, with the Chart.js that the theme brings along.
(() => {
  "use strict";

  // Told apart also by those who see few colors (Okabe and Ito's, without black).
  const COLORS = ["#009e73", "#0072b2", "#e69f00", "#cc79a7", "#56b4e9", "#d55e00", "#8c7ae6", "#b8a400", "#7f8c8d"];

  const usd = (value) => {
    const digits = value !== 0 && Math.abs(value) < 1 ? 4 : 2;
    return value.toLocaleString("en-US", { style: "currency", currency: "USD", maximumFractionDigits: digits });
  };
  const count = (value) => value.toLocaleString("en-US", { notation: value >= 100000 ? "compact" : "standard" });
  const colorOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const draw = (canvas) => {
    const source = document.getElementById(canvas.dataset.chart);
    if (!source) return;
    Chart.getChart(canvas)?.destroy();
    const told = JSON.parse(source.textContent);
    const write = told.unit === "usd" ? usd : count;
    const [line, faint] = [colorOf("--ct-line"), colorOf("--ct-faint")];
    const urlOf = (item) => told.lines[item.datasetIndex].urls[item.index];
    new Chart(canvas, {
      type: told.kind,
      data: {
        labels: told.labels,
        datasets: told.lines.map((one, place) => ({
          label: one.name,
          data: one.values,
          backgroundColor: COLORS[place % COLORS.length],
          borderColor: COLORS[place % COLORS.length],
          borderWidth: told.kind === "line" ? 2 : 0,
          pointRadius: 2,
          maxBarThickness: 48,
        })),
      },
      options: {
        animation: false,
        responsive: true,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        onClick: (event, _items, chart) => {
          const [item] = chart.getElementsAtEventForMode(event.native, "nearest", { intersect: true }, false);
          if (item && urlOf(item)) window.location.assign(urlOf(item));
        },
        onHover: (event, _items, chart) => {
          const [item] = chart.getElementsAtEventForMode(event.native, "nearest", { intersect: true }, false);
          canvas.style.cursor = item && urlOf(item) ? "pointer" : "default";
        },
        scales: {
          x: { stacked: told.is_stacked, grid: { display: false }, ticks: { color: faint, maxRotation: 0, autoSkipPadding: 12 } },
          y: { stacked: told.is_stacked, beginAtZero: true, border: { display: false }, grid: { color: line }, ticks: { color: faint, callback: write, maxTicksLimit: 6 } },
        },
        plugins: {
          legend: { display: told.lines.length > 1, position: "bottom", labels: { color: faint, boxWidth: 10, boxHeight: 10, usePointStyle: true } },
          tooltip: {
            filter: (item) => item.raw !== 0,
            callbacks: { label: (item) => `${item.dataset.label}: ${told.lines[item.datasetIndex].texts[item.dataIndex]}` },
          },
        },
      },
    });
  };

  const drawAll = (root) => root.querySelectorAll?.("canvas[data-chart]").forEach(draw);
  const start = () => {
    drawAll(document);
    // Colors follow the theme when it is switched.
    new MutationObserver(() => drawAll(document)).observe(document.documentElement, { attributeFilter: ["class"] });
  };
  document.addEventListener("htmx:afterSwap", (event) => drawAll(event.target));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
