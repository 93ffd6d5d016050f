// Decisions on doubted labels: kept in this browser, saved as a CSV file. No network.
(() => {
  const columns = {{ columns | tojson }};
  const rows = {{ doubted | tojson }};
  const key = "tlcli labels of " + {{ decisions_of | tojson }};
  let kept = {};
  try { kept = JSON.parse(localStorage.getItem(key)) || {}; } catch { /* no storage: decisions last until the page is closed */ }
  const count = () => {
    const made = rows.filter((row) => row[4]).length;
    document.getElementById("decided").textContent = made + " of " + rows.length + " decided";
  };
  for (const select of document.querySelectorAll("select[data-row]")) {
    const row = rows[select.dataset.row];
    const before = kept[row[0]];
    if (before && before[0] === row[1] && before[1] === row[2]) row[4] = before[2]; // the same label and suggestion
    select.value = row[4];
    if (select.value !== row[4]) select.add(new Option(row[4], row[4], true, true)); // an earlier decision
    select.addEventListener("change", () => {
      row[4] = select.value;
      kept[row[0]] = row.slice(1, 3).concat(row[4]);
      try { localStorage.setItem(key, JSON.stringify(kept)); } catch { /* as above */ }
      count();
    });
  }
  count();
  const cell = (text) => (/[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text);
  document.getElementById("save").addEventListener("click", () => {
    const text = [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "labels.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
