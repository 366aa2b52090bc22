// Draws what billing.admin.components.charts describes, with the theme's Chart.js.
(() => {
  "use strict";

  // A palette that is safe for color-blind readers (Okabe and Ito, without black).
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
    const chart = JSON.parse(source.textContent);
    const write = chart.unit === "usd" ? usd : count;
    const [gridColor, faint] = [colorOf("--ct-line"), colorOf("--ct-faint")];
    const urlOf = (item) => chart.lines[item.datasetIndex].urls[item.index];
    new Chart(canvas, {
      type: chart.kind,
      data: {
        labels: chart.labels,
        datasets: chart.lines.map((line, index) => ({
          label: line.name,
          data: line.values,
          backgroundColor: COLORS[index % COLORS.length],
          borderColor: COLORS[index % COLORS.length],
          borderWidth: chart.kind === "line" ? 2 : 0,
          pointRadius: 2,
          maxBarThickness: 48,
        })),
      },
      options: {
        animation: false,
        responsive: true,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        onClick: (event, _items, instance) => {
          const [item] = instance.getElementsAtEventForMode(event.native, "nearest", { intersect: true }, false);
          if (item && urlOf(item)) window.location.assign(urlOf(item));
        },
        onHover: (event, _items, instance) => {
          const [item] = instance.getElementsAtEventForMode(event.native, "nearest", { intersect: true }, false);
          canvas.style.cursor = item && urlOf(item) ? "pointer" : "default";
        },
        scales: {
          x: { stacked: chart.is_stacked, grid: { display: false }, ticks: { color: faint, maxRotation: 0, autoSkipPadding: 12 } },
          y: { stacked: chart.is_stacked, beginAtZero: true, border: { display: false }, grid: { color: gridColor }, ticks: { color: faint, callback: write, maxTicksLimit: 6 } },
        },
        plugins: {
          legend: { display: chart.lines.length > 1, position: "bottom", labels: { color: faint, boxWidth: 10, boxHeight: 10, usePointStyle: true } },
          tooltip: {
            filter: (item) => item.raw !== 0,
            callbacks: { label: (item) => `${item.dataset.label}: ${chart.lines[item.datasetIndex].texts[item.dataIndex]}` },
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
