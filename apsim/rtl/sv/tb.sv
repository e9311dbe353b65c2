// Runs the microcode once and compares after every clock with what the emulator did.
//
// Ends with one line PASS or FAIL; +repeat=N runs it N times more, unchecked, for its speed.
`include "params.svh"

// What only the checks at the falling edge use is set at once:
// verilator lint_off BLKSEQ

module tb;
  localparam ROWS = `ROWS, COLUMNS = `COLUMNS, SEGMENTS = `SEGMENTS;
  localparam LINE = ROWS > COLUMNS ? ROWS : COLUMNS;
  localparam SHIFT = $clog2(COLUMNS) + 2, SPAN = $clog2(COLUMNS + 1);
  localparam STATE = COLUMNS * ROWS + ROWS + SEGMENTS * COLUMNS;
  localparam STEPS = `COMPARES + `WRITES + `READS;
  localparam CLOCKS = `COMPARES + `READS + `WRITE_CLOCKS * `WRITES;

  logic clk = 0, rst = 1;
  logic en, mode, vclear, take, put, done;
  logic [2:0] op, gate;
  logic [COLUMNS-1:0] hmask, hkey;
  logic [ROWS-1:0] vmask, vkey, tag;
  logic [SEGMENTS*ROWS-1:0] member;
  logic [SEGMENTS-1:0] active;
  logic signed [SHIFT-1:0] shift;
  logic [SPAN-1:0] first, width;
  logic [31:0] pc, clocks, compares, writes, reads;
  logic [SEGMENTS*COLUMNS-1:0] vtag;
  logic [LINE-1:0] result;
  logic [COLUMNS*ROWS-1:0] cells;

  logic [ROWS-1:0]  image[0:COLUMNS-1];
  logic [LINE-1:0]  data[0:`INPUTS-1];
  logic [LINE-1:0]  expected_out[0:`OUTPUTS-1];
  logic [STATE-1:0] expected_trace[0:`TRACE-1];

  controller #(
      .ROWS(ROWS), .COLUMNS(COLUMNS), .SEGMENTS(SEGMENTS), .WORDS(`WORDS), .LOOPS(`LOOPS),
      .TABLE(`TABLE), .MASKS(`MASKS), .LINES(`LINES), .SLOT(`SLOT), .WRITE_CLOCKS(`WRITE_CLOCKS)
  ) u_controller (.*);

  ap #(
      .ROWS(ROWS), .COLUMNS(COLUMNS), .SEGMENTS(SEGMENTS), .VERTICAL(`VERTICAL), .CHAIN(`CHAIN)
  ) u_ap (.data(data[taken < `INPUTS ? taken : 0]), .*);

  generate
    for (genvar c = 0; c < COLUMNS; c++) begin : g_image
      initial begin
        #1 u_ap.g_column[c].u_column.cells = image[c];
      end
    end
  endgenerate

  int repeats = 0, round = 0, failures = 0, flips = 0, given = 0, total = 0;
  int step = 0, taken = 0, ran = 0, ticks = 0;
  logic shown = 0;
  logic [COLUMNS*ROWS-1:0] earlier;

  initial begin
    $readmemh("cells.hex", image);
    $readmemh("data.hex", data);
    $readmemh("expected_out.hex", expected_out);
    $readmemh("expected_trace.hex", expected_trace);
    if (!$value$plusargs("repeat=%d", repeats)) repeats = 0;
`ifdef DUMP
    $dumpfile("ap.vcd");
    $dumpvars(0, u_ap);
`endif
  end

  always #5 clk = ~clk;

  always @(posedge clk) begin
    shown <= put;
    ran <= pc;
    step <= rst ? 0 : step + int'(en);
    taken <= rst ? 0 : taken + int'(take);
  end

  task automatic fail(input string what);
    failures++;
    if (failures <= 5) $display("FAIL clock %0d step %0d pc %0d: %0s", clocks, step, ran, what);
  endtask

  task automatic compare_state(input logic [STATE-1:0] wanted);
    logic [COLUMNS*ROWS-1:0] want_cells;
    logic [ROWS-1:0] want_tag;
    logic [SEGMENTS*COLUMNS-1:0] want_vtag;
    {want_cells, want_tag, want_vtag} = wanted;
    if (cells !== want_cells) fail("cells");
    if (tag !== want_tag) fail("row tags");
    if (vtag !== want_vtag) fail("column tags");
  endtask

  task automatic check;
    if (shown) begin
      if (given >= `OUTPUTS || result !== expected_out[given]) fail("output");
      given++;
    end
    if (step > STEPS) fail("steps");
    else if (step > 0 && `TRACE == STEPS) compare_state(expected_trace[step-1]);
    for (int c = 0; c < COLUMNS; c++)
      if (cells[c*ROWS+:ROWS] !== earlier[c*ROWS+:ROWS])
        for (int r = 0; r < ROWS; r++) if (cells[c*ROWS+r] !== earlier[c*ROWS+r]) flips++;
    earlier = cells;
  endtask

  task automatic check_end;
    if (`TRACE != STEPS) compare_state(expected_trace[`TRACE-1]);
    if (taken != `TAKEN || given != `PUT) fail("inputs or outputs");
    if (compares !== `COMPARES || writes !== `WRITES || reads !== `READS) fail("counts");
    if (clocks !== CLOCKS) fail("clocks");
    if (flips != `FLIPS) fail("flips");
    $display("%0s: %0d clocks, %0d compares, %0d writes, %0d reads, %0d toggles",
             failures == 0 ? "PASS" : "FAIL", clocks, compares, writes, reads, flips);
  endtask

  always @(negedge clk) begin
    if (rst) begin
      earlier = cells;
      rst <= $time < 20;
    end else begin
      if (round == 0) check;
      ticks++;
      if (done === 1'b1 || ticks > CLOCKS + 4) begin
        if (round == 0) check_end;
        total += int'(clocks);
        if (failures != 0) $fatal(1, "not what the emulator did");
        if (round == repeats) begin
          if (repeats > 0) $display("TOTAL: %0d clocks", total);
          $finish;
        end
        round++;
        ticks = 0;
        rst <= 1;
      end
    end
  end
endmodule
