/* global make, byId */
// Filters and sorts the rows that are there, and says times as people do.

const table = byId("list");

/** `5 minutes ago`, in the largest unit that fits. */
const ago = (then, now) => {
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const seconds = (then - now) / 1000;
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return words.format(Math.round(seconds / size), unit);
  }
  return "just now";
};

const tellTimes = (rows) => {
  const now = Date.now();
  // A page that lies open for a day still tells the truth once it is looked at.
  for (const { clock } of rows) clock.textContent = ago(Date.parse(clock.dateTime), now);
};

const read = (row) => {
  const cell = (name) => row.querySelector(`td.${name}`)?.textContent.trim() ?? "";
  const number = (cellIndex) => {
    const value = row.cells[cellIndex].dataset.value;
    return value === undefined ? null : Number(value);
  };
  const clock = row.querySelector("time");
  const text = [cell("name"), cell("state"), cell("method")].join(" ").toLowerCase();
  return {
    row,
    clock,
    group: row.dataset.group,
    text,
    keys: {
      name: row.querySelector("td.name > :first-child").textContent.toLowerCase(),
      state: row.querySelector(".badge").textContent.toLowerCase(),
      method: cell("method").toLowerCase(),
      snr: number(4),
      residual: number(5),
      updated: Date.parse(clock.dateTime),
    },
  };
};

/** Rows without a value come last in either direction. */
const compare = (key, direction) => (one, other) => {
  const [a, b] = [one.keys[key], other.keys[key]];
  const missing = (value) => value === null || value === "" || Number.isNaN(value);
  if (missing(a) || missing(b)) return Number(missing(a)) - Number(missing(b));
  return direction * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
};

const begin = () => {
  const body = table.tBodies[0];
  const rows = [...body.rows].map(read);
  const heads = [...table.querySelectorAll("th[data-key]")];
  const chips = [...document.querySelectorAll(".chip")];
  const order = byId("order");
  const filter = byId("filter");
  const view = { group: "", key: "updated", direction: -1 };

  const select = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { row, group, text } of rows) {
      // What a newer upload replaced is there for those who ask for it.
      const inGroup = view.group === "" ? group !== "superseded" : group === view.group;
      row.hidden = !(inGroup && words.every((word) => text.includes(word)));
      shown += Number(!row.hidden);
    }
    byId("empty").hidden = shown > 0;
    table.hidden = shown === 0;
    byId("count").textContent = words.length > 0 ? `${shown} of ${rows.length} scans` : "";
  };

  const sort = (key, direction) => {
    Object.assign(view, { key, direction });
    body.append(...[...rows].sort(compare(key, direction)).map(({ row }) => row));
    for (const head of heads) {
      if (head.dataset.key === key) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    order.value = key;
  };

  // Numbers and times are wanted largest first, names from A.
  const first = (key) => (["name", "state", "method", "residual"].includes(key) ? 1 : -1);
  for (const head of heads) {
    const { key } = head.dataset;
    const label = head.textContent;
    const button = make("button", { type: "button", textContent: label });
    button.addEventListener("click", () => sort(key, view.key === key ? -view.direction : first(key)));
    head.replaceChildren(button);
    order.append(make("option", { value: key }, label));
  }
  order.addEventListener("change", () => sort(order.value, first(order.value)));
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      view.group = chip.dataset.group;
      for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
      select();
    });
  }
  filter.addEventListener("input", select);
  // A picture that is not there yet leaves an even field.
  for (const image of body.querySelectorAll("img")) {
    const replace = () => image.replaceWith(make("span", { className: "no-picture", "aria-hidden": "true" }));
    if (image.complete && image.naturalWidth === 0) replace();
    else image.addEventListener("error", replace);
  }

  byId("controls").hidden = false;
  for (const { clock } of rows) {
    clock.title = `${new Date(clock.dateTime).toLocaleString()} (${clock.textContent})`;
  }
  tellTimes(rows);
  setInterval(() => tellTimes(rows), 60000);
  order.value = view.key;
  select();
};

if (table) begin();
