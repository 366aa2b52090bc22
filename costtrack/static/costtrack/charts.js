// Draws what billing.admin.components.charts describes, with the theme's Chart.js.
(() => {
  "use strict";

  // A palette that is safe for color-blind readers (Okabe and Ito, without black).
  const COLORS = ["#009e73", "#0072b2", "#e69f00", "#cc79a7", "#56b4e9", "#d55e00", "#8c7ae6", "#b8a400", "#7f8c8d"];
  const LIMIT_COLOR = "#dc2626";
  const MAX_NAME = 32;

  const usd = (value) => {
    const digits = value !== 0 && Math.abs(value) < 1 ? 4 : 2;
    const notation = Math.abs(value) >= 100000 ? "compact" : "standard";
    return value.toLocaleString("en-US", { style: "currency", currency: "USD", maximumFractionDigits: digits, notation });
  };
  const percent = (value) => value.toLocaleString("en-US", { style: "percent", maximumFractionDigits: 1 });
  const count = (value) => value.toLocaleString("en-US", { notation: value >= 100000 ? "compact" : "standard" });
  const colorOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const middle = (name) => {
    if (name.length <= MAX_NAME) return name;
    const end = Math.floor((MAX_NAME - 1) / 2);
    return `${name.slice(0, MAX_NAME - 1 - end)}…${name.slice(-end)}`;
  };

  const barsOf = (chart) =>
    chart.lines.map((line, index) => ({
      label: line.name,
      data: line.values,
      texts: line.texts,
      urls: line.urls.length ? line.urls : chart.urls,
      backgroundColor: COLORS[index % COLORS.length],
      borderColor: COLORS[index % COLORS.length],
      borderWidth: chart.kind === "line" ? 2 : 0,
      pointRadius: 2,
      maxBarThickness: 48,
      order: 1,
    }));

  // Series beside the bars: what is expected continues the stack, unusual bars have a triangle, the others are lines.
  const overlaysOf = (chart, faint, grid, strong) =>
    chart.overlays.map((overlay, index) => {
      const common = { label: overlay.name, data: overlay.values, texts: overlay.texts, urls: [], role: overlay.role };
      if (overlay.role === "expected") {
        const style = { backgroundColor: grid, borderColor: faint, borderDash: [3, 3], pointRadius: 0 };
        return { ...common, ...style, borderWidth: chart.kind === "line" ? 2 : 1, maxBarThickness: 48, order: 2 };
      }
      if (overlay.role === "anomaly") {
        const style = { type: "line", stack: overlay.role, showLine: false, pointStyle: "triangle", pointRadius: 6 };
        return { ...common, ...style, pointHoverRadius: 7, borderColor: strong, backgroundColor: strong, clip: false, order: -1 };
      }
      if (overlay.role === "band") {
        const isUpper = chart.overlays[index + 1]?.role === "band";
        const style = { backgroundColor: grid, borderColor: faint, borderWidth: 0.5, pointRadius: 0 };
        return { ...common, ...style, type: "line", fill: isUpper ? "+1" : false, order: 3 };
      }
      const color = overlay.role === "limit" ? LIMIT_COLOR : faint;
      const line = { type: "line", stack: overlay.role, borderColor: color, backgroundColor: color, fill: false };
      return { ...common, ...line, borderWidth: 1.5, borderDash: overlay.role === "limit" ? [] : [5, 4], pointRadius: 0, order: 0 };
    });

  // A list below the canvas, because the legend of the canvas would cut long names and take the height of the plot.
  const showLegend = (canvas, instance) => {
    const figure = canvas.closest("figure");
    figure.querySelector(".ct-legend")?.remove();
    const { datasets } = instance.data;
    if (datasets.length < 2) return;
    const legend = document.createElement("div");
    legend.className = "ct-legend";
    datasets.forEach((dataset, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = dataset.label;
      button.setAttribute("aria-pressed", "true");
      const color = document.createElement("i");
      color.style.background = dataset.role === "expected" ? dataset.backgroundColor : dataset.borderColor;
      if (dataset.role === "expected") color.style.outline = `1px dashed ${dataset.borderColor}`;
      else if (dataset.role) color.style.height = "2px";
      button.append(color, dataset.role ? dataset.label : middle(dataset.label));
      button.addEventListener("click", () => {
        const isShown = !instance.isDatasetVisible(index);
        instance.setDatasetVisibility(index, isShown);
        button.setAttribute("aria-pressed", String(isShown));
        instance.update();
      });
      legend.append(button);
    });
    canvas.parentElement.after(legend);
  };

  const draw = (canvas) => {
    const source = document.getElementById(canvas.dataset.chart);
    if (!source) return;
    Chart.getChart(canvas)?.destroy();
    const chart = JSON.parse(source.textContent);
    const write = { usd, percent, count }[chart.unit];
    const [gridColor, faint, strong] = [colorOf("--ct-line"), colorOf("--ct-faint"), colorOf("--ct-strong")];
    // Stacked bars are narrow targets: anywhere in a column leads to its period.
    const urlAt = (event, instance) => {
      const [exact] = instance.getElementsAtEventForMode(event.native, "nearest", { intersect: true }, false);
      const [item] = exact ? [exact] : instance.getElementsAtEventForMode(event.native, "index", { intersect: false }, false);
      return item ? instance.data.datasets[item.datasetIndex].urls[item.index] || chart.urls[item.index] : "";
    };
    const instance = new Chart(canvas, {
      type: chart.kind,
      data: { labels: chart.labels, datasets: [...barsOf(chart), ...overlaysOf(chart, faint, gridColor, strong)] },
      options: {
        animation: false,
        responsive: true,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        onClick: (event, _items, clicked) => {
          const url = urlAt(event, clicked);
          if (url) window.location.assign(url);
        },
        onHover: (event, _items, hovered) => {
          canvas.style.cursor = urlAt(event, hovered) ? "pointer" : "default";
        },
        scales: {
          x: { stacked: chart.is_stacked, grid: { display: false }, ticks: { color: faint, maxRotation: 0, autoSkipPadding: 12 } },
          y: { stacked: chart.is_stacked, beginAtZero: true, border: { display: false }, grid: { color: gridColor }, ticks: { color: faint, callback: write, maxTicksLimit: 6 } },
        },
        plugins: {
          legend: { display: false },
          tooltip: {
            filter: (item) => item.raw !== null && (item.raw !== 0 || item.dataset.role),
            callbacks: {
              label: (item) => `${middle(item.dataset.label)}: ${item.dataset.texts[item.dataIndex]}`,
              footer: ([item]) => (item && chart.totals[item.dataIndex] ? `Total: ${chart.totals[item.dataIndex]}` : ""),
            },
          },
        },
      },
    });
    showLegend(canvas, instance);
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
