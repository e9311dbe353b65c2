// The controller: microcode, loops over rows at no clock of their own, counters.
//
// One word of microcode is one compare, read (a clock) or write (WRITE_CLOCKS clocks).  A loop is
// entered by its first word; its number is how many loops have ended.  Word, lowest bit first:
// last end op[3] mode gate[3] out hmask hkey shift first width, then LINES times: used bit slot.
module controller #(
    parameter ROWS = 4,
    parameter COLUMNS = 4,
    parameter SEGMENTS = 1,
    parameter WORDS = 1,
    parameter LOOPS = 1,
    parameter TABLE = 1,
    parameter MASKS = 1,
    parameter LINES = 1,
    parameter SLOT = 1,
    parameter WRITE_CLOCKS = 1,
    parameter MICROCODE = "microcode.hex",
    parameter LOOP_FILE = "loops.hex",
    parameter ROW_FILE = "rows.hex",
    parameter MASK_FILE = "masks.hex",
    parameter SHIFT = $clog2(COLUMNS) + 2,
    parameter SPAN = $clog2(COLUMNS + 1)
) (
    input  logic                     clk,
    input  logic                     rst,
    output logic                     en,      // this clock ends an operation
    output logic [2:0]               op,
    output logic [2:0]               gate,
    output logic                     mode,
    output logic [COLUMNS-1:0]       hmask,
    output logic [COLUMNS-1:0]       hkey,
    output logic [ROWS-1:0]          vmask,
    output logic [ROWS-1:0]          vkey,
    output logic [SEGMENTS*ROWS-1:0] member,
    output logic [SEGMENTS-1:0]      active,
    output logic                     vclear,
    output logic signed [SHIFT-1:0]  shift,
    output logic [SPAN-1:0]          first,
    output logic [SPAN-1:0]          width,
    output logic                     take,    // a line of input is used in this clock
    output logic                     put,     // `result` is a line of output in the next clock
    output logic                     done,
    output logic [31:0]              pc,
    output logic [31:0]              clocks,
    output logic [31:0]              compares,
    output logic [31:0]              writes,
    output logic [31:0]              reads
);
  localparam COMPARE = 3'd0, READ = 3'd3, WRITE_DATA = 3'd5;
  localparam HEAD = 10 + 2 * COLUMNS + SHIFT + 2 * SPAN;
  localparam LINE = 2 + SLOT;
  localparam WORD = HEAD + LINES * LINE;

  logic [WORD-1:0] microcode[0:WORDS-1];
  logic [159:0]    loops[0:LOOPS-1];  // start, groups, place in rows or masks, slots, parallel
  logic [31:0]     rows[0:TABLE-1];   // row of each slot of each group of loops in turn
  logic [ROWS-1:0] masks[0:MASKS-1];  // parallel loops: rows of each slot, then of each segment
  initial begin
    $readmemh(MICROCODE, microcode);
    $readmemh(LOOP_FILE, loops);
    $readmemh(ROW_FILE, rows);
    $readmemh(MASK_FILE, masks);
  end

  logic [WORD-1:0] word;
  logic last, ends, out, parallel, again, is_write;
  logic [31:0] loop, group, base, phase, start, groups, place, slots, acting, acted;

  assign word = microcode[pc];
  assign {width, first, shift, hkey, hmask, out, gate, mode, op, ends, last} = word[HEAD-1:0];
  assign {parallel, slots, place, groups, start} = loop < LOOPS ? loops[loop][128:0] : '0;

  assign is_write = op != COMPARE && op != READ;
  assign en = ~rst & ~done & (~is_write || phase == WRITE_CLOCKS - 1);
  assign take = en && op == WRITE_DATA;
  assign put = en && op == READ && out;
  assign again = ends & ~parallel && group + 1 < groups;  // the body once more, for other rows
  assign acting = parallel ? groups : 1;
  assign vclear = mode && acting != acted;

  always_comb begin  // rows keyed or written, by slot
    vmask = '0;
    vkey = '0;
    for (int k = 0; k < LINES; k++) begin
      logic used, value;
      logic [SLOT-1:0] slot;
      logic [ROWS-1:0] line;
      {slot, value, used} = word[HEAD+k*LINE+:LINE];
      line = parallel ? masks[place+32'(slot)] : ROWS'(1) << rows[place+base+32'(slot)];
      if (used) begin
        vmask |= line;
        if (value) vkey |= line;
      end
    end
  end

  always_comb begin  // set at once: whoever listens to `member` does so once
    logic [SEGMENTS*ROWS-1:0] cut;
    for (int s = 0; s < SEGMENTS; s++) begin
      active[s] = 32'(s) < acting;
      cut[s*ROWS+:ROWS] = ~parallel ? {ROWS{s == 0}}
                        : 32'(s) < acting ? masks[place+slots+32'(s)] : '0;
    end
    member = cut;
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      {done, pc, loop, group, base, phase} <= '0;
      {clocks, compares, writes, reads} <= '0;
      acted <= 1;
    end else if (!done) begin
      clocks <= clocks + 1;
      phase <= en ? 0 : phase + 1;
      if (en) begin
        compares <= compares + 32'(op == COMPARE);
        writes <= writes + 32'(is_write);
        reads <= reads + 32'(op == READ);
        if (mode) acted <= acting;
        if (again) begin
          pc <= start;
          group <= group + 1;
          base <= base + slots;
        end else begin
          done <= last;
          pc <= pc + 32'(!last);
          if (ends) begin
            loop <= loop + 1;
            {group, base} <= '0;
          end
        end
      end
    end
  end
endmodule
