// DataTables sorts and searches the tables that stand in the page.
async function startTables() {
  const DataTable = await library("datatables");
  for (const table of document.querySelectorAll("main table.numbers")) {
    const long = table.id === "table-cells";
    const made = new DataTable(table, {
      order: [],
      autoWidth: false,
      paging: long && table.tBodies[0].rows.length > 50,
      pageLength: 50,
      lengthChange: false,
      columnDefs: [{ targets: "number", orderSequence: ["desc", "asc", ""] }],
      layout: { topStart: "search", topEnd: long ? "info" : null, bottomStart: long ? "paging" : null, bottomEnd: null },
      language: { search: "Search", info: "_TOTAL_ rows", infoEmpty: "no rows", infoFiltered: "of _MAX_", zeroRecords: "No row fits.",
        emptyTable: "No rows.", searchPlaceholder: "loss, dataset, ..." },
    });
    // The controls stay in place when a wide table is scrolled.
    const box = table.closest(".scroll");
    const frame = made.table().container();
    box.before(frame);
    const cell = frame.querySelector(".dt-layout-table");
    box.append(...cell.childNodes);
    cell.append(box);
    if (long) {
      startFilters(made);
      showAllOnPaper(made);
    }
  }
}

// Paper has no pages to turn.
function showAllOnPaper(table) {
  const rows = table.page.len();
  addEventListener("beforeprint", () => table.page.len(-1).draw());
  addEventListener("afterprint", () => table.page.len(rows).draw());
}

function startFilters(table) {
  const form = document.getElementById("cell-filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  table.columns("[data-filter]").every(function () {
    const values = [...new Set(this.nodes().toArray().map((node) => node.textContent.trim()))].filter(Boolean);
    if (values.length < 2) return;
    form.append(
      choice(this.header().textContent.trim(), ["all", ...values], (value) => {
        this.search(value === "all" ? "" : value, { exact: true }).draw();
      }),
    );
  });
}
