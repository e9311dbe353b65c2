// An associative processor: cells, row tags, column tags; one operation a clock.
//
// Bits: row r of a column is bit r; cell (r, c) is bit c*ROWS + r of `cells`; column tag c of
// segment s is bit s*COLUMNS + c of `vtag`.  VERTICAL = 0 leaves out keys on rows and column
// tags; CHAIN = 0 leaves out the carry/prefix chain across the column tags.

// Three modules in one file; with VERTICAL = 0 some wires have no reader:
// verilator lint_off DECLFILENAME
// verilator lint_off UNUSEDSIGNAL

// One column: its cells, how they compare, and what is written into them.
module ap_column #(
    parameter ROWS = 4,
    parameter SEGMENTS = 1,
    parameter VERTICAL = 1
) (
    input  logic                     clk,
    input  logic                     mask,    // horizontal: this column is keyed
    input  logic                     key,     // ... with this bit
    output logic [ROWS-1:0]          equal,   // rows that hold it, or all where not keyed
    input  logic [ROWS-1:0]          vmask,   // vertical: rows keyed or written
    input  logic [ROWS-1:0]          vkey,    // ... with these bits
    input  logic [SEGMENTS*ROWS-1:0] member,  // rows of each segment
    output logic [SEGMENTS-1:0]      match,   // whether this column matches, in each segment
    input  logic                     keyed,   // what is written: the key, else lines of bits
    input  logic [ROWS-1:0]          hwrite,  // horizontal write: into these rows
    input  logic [ROWS-1:0]          hline,   // ... these bits, where not the key
    input  logic [SEGMENTS-1:0]      vwrite,  // vertical write: in these segments
    input  logic [SEGMENTS-1:0]      vline,   // ... these bits, where not the key
    output logic [ROWS-1:0]          cells
);
  logic [ROWS-1:0] vrows, vbits, into, value;

  assign equal = {ROWS{~mask}} | (cells ~^ {ROWS{key}});

  generate
    if (VERTICAL != 0) begin : g_vertical
      logic [ROWS-1:0] differ;
      assign differ = vmask & (cells ^ vkey);
      for (genvar s = 0; s < SEGMENTS; s++) begin : g_match
        assign match[s] = ~|(differ & member[s*ROWS+:ROWS]);
      end
      always_comb begin
        vrows = '0;
        vbits = '0;
        for (int s = 0; s < SEGMENTS; s++) begin
          if (vwrite[s]) vrows |= member[s*ROWS+:ROWS];
          if (vline[s]) vbits |= member[s*ROWS+:ROWS];
        end
      end
      assign into  = ({ROWS{mask}} & hwrite) | (vmask & vrows);
      assign value = |vwrite ? (keyed ? vkey : vbits) : (keyed ? {ROWS{key}} : hline);
    end else begin : g_horizontal
      assign match = '0;
      assign {vrows, vbits} = '0;
      assign into  = {ROWS{mask}} & hwrite;
      assign value = keyed ? {ROWS{key}} : hline;
    end
  endgenerate

  always_ff @(posedge clk) cells <= (cells & ~into) | (value & into);
endmodule

// The column tags of one segment, the latches of its chain, and the shifter of its moves.
module ap_segment #(
    parameter COLUMNS = 4,
    parameter CHAIN = 1,
    parameter SHIFT = 4  // bits of `shift`
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic                    clear,   // take tags and latches for 0 from this clock on
    input  logic                    active,
    input  logic                    load,    // vertical compare or read
    input  logic [2:0]              gate,
    input  logic [COLUMNS-1:0]      match,
    input  logic                    read,    // move the new tags, else those before this clock
    input  logic signed [SHIFT-1:0] shift,   // columns that tags move up
    output logic [COLUMNS-1:0]      now,     // tags before this clock
    output logic [COLUMNS-1:0]      moved,
    output logic [COLUMNS-1:0]      tag
);
  localparam LOAD_G = 3'd1, LOAD_K = 3'd2, CARRY = 3'd3, PREFIX = 3'd4;
  logic [COLUMNS-1:0] gated, next, source;

  generate
    if (CHAIN != 0) begin : g_chain
      logic [COLUMNS-1:0] g, k, generated, killed, carry, prefix;
      logic ripple, any;
      assign generated = clear ? '0 : g;
      assign killed = gate == LOAD_K ? match : clear ? '0 : k;
      always_comb begin
        ripple = 1'b0;
        any = 1'b0;
        for (int c = 0; c < COLUMNS; c++) begin
          carry[c] = ripple;
          ripple = generated[c] | (~killed[c] & ripple);
          any |= match[COLUMNS-1-c];
          prefix[COLUMNS-1-c] = any;
        end
      end
      assign gated = gate == LOAD_K || gate == CARRY ? match & carry
                   : gate == PREFIX ? prefix : match;
      always_ff @(posedge clk) begin
        if (rst) {g, k} <= '0;
        else if (load | clear) begin
          g <= load && gate == LOAD_G ? match : generated;
          k <= load ? killed : '0;
        end
      end
    end else begin : g_plain
      assign gated = match;
    end
  endgenerate

  assign now = clear ? '0 : tag;
  assign next = active ? gated : '0;
  assign source = read ? next : now;
  assign moved = shift < 0 ? source >> -shift : source << shift;

  always_ff @(posedge clk) begin
    if (rst) tag <= '0;
    else if (load) tag <= next;
    else if (clear) tag <= '0;
  end
endmodule

module ap #(
    parameter ROWS = 4,
    parameter COLUMNS = 4,
    parameter SEGMENTS = 1,
    parameter VERTICAL = 1,
    parameter CHAIN = 1,
    parameter LINE = ROWS > COLUMNS ? ROWS : COLUMNS,
    parameter SHIFT = $clog2(COLUMNS) + 2,
    parameter SPAN = $clog2(COLUMNS + 1)
) (
    input  logic                        clk,
    input  logic                        rst,
    input  logic                        en,
    input  logic [2:0]                  op,
    input  logic [2:0]                  gate,
    input  logic                        mode,    // 0 horizontal, 1 vertical
    input  logic [COLUMNS-1:0]          hmask,
    input  logic [COLUMNS-1:0]          hkey,
    input  logic [ROWS-1:0]             vmask,
    input  logic [ROWS-1:0]             vkey,
    input  logic [SEGMENTS*ROWS-1:0]    member,
    input  logic [SEGMENTS-1:0]         active,
    input  logic                        vclear,
    input  logic signed [SHIFT-1:0]     shift,
    input  logic [SPAN-1:0]             first,   // lowest column filled
    input  logic [SPAN-1:0]             width,   // columns filled or put out
    input  logic [LINE-1:0]             data,
    output logic [ROWS-1:0]             tag,
    output logic [SEGMENTS*COLUMNS-1:0] vtag,
    output logic [LINE-1:0]             result,
    output logic [COLUMNS*ROWS-1:0]     cells
);
  localparam COMPARE = 3'd0, WRITE = 3'd1, WRITE_ALL = 3'd2, READ = 3'd3, WRITE_TAG = 3'd4,
             WRITE_DATA = 3'd5;
  logic search, keyed, writes;
  logic [ROWS-1:0] found, hwrite, hline;
  logic [COLUMNS-1:0] fill, put;
  logic [COLUMNS*ROWS-1:0] equal;
  logic [COLUMNS*SEGMENTS-1:0] match, vwrite, vline;  // a column after the other
  logic [SEGMENTS*COLUMNS-1:0] now, moved, matched;   // a segment after the other

  assign search = op == COMPARE || op == READ;
  assign keyed = op == WRITE || op == WRITE_ALL;
  assign writes = keyed || op == WRITE_TAG || op == WRITE_DATA;
  assign hwrite = {ROWS{en & ~mode & writes}} & (op == WRITE ? tag : '1);
  assign hline = op == WRITE_TAG ? tag : data[ROWS-1:0];

  always_comb begin  // a row is found where every column is equal
    found = '1;
    for (int c = 0; c < COLUMNS; c++) found &= equal[c*ROWS+:ROWS];
  end

  generate
    for (genvar c = 0; c < COLUMNS; c++) begin : g_column
      ap_column #(
          .ROWS(ROWS), .SEGMENTS(SEGMENTS), .VERTICAL(VERTICAL)
      ) u_column (
          .clk, .mask(hmask[c]), .key(hkey[c]), .equal(equal[c*ROWS+:ROWS]), .vmask, .vkey, .member,
          .match(match[c*SEGMENTS+:SEGMENTS]), .keyed, .hwrite, .hline,
          .vwrite(vwrite[c*SEGMENTS+:SEGMENTS]), .vline(vline[c*SEGMENTS+:SEGMENTS]),
          .cells(cells[c*ROWS+:ROWS])
      );
    end

    if (VERTICAL != 0) begin : g_vertical
      logic [COLUMNS-1:0] below;  // columns below first + width; `fill`: and not below first
      assign below = ~({COLUMNS{1'b1}} << ({1'b0, first} + {1'b0, width}));
      assign fill = below & ({COLUMNS{1'b1}} << first);
      assign put = moved[COLUMNS-1:0] & fill;
      logic [COLUMNS-1:0] into;  // the word from outside, from column `first` on
      assign into = data[COLUMNS-1:0] << first;
      for (genvar s = 0; s < SEGMENTS; s++) begin : g_segment
        ap_segment #(
            .COLUMNS(COLUMNS), .CHAIN(CHAIN), .SHIFT(SHIFT)
        ) u_segment (
            .clk, .rst, .clear(en & vclear), .active(active[s]), .load(en & mode & search), .gate,
            .match(matched[s*COLUMNS+:COLUMNS]), .read(op == READ), .shift,
            .now(now[s*COLUMNS+:COLUMNS]), .moved(moved[s*COLUMNS+:COLUMNS]),
            .tag(vtag[s*COLUMNS+:COLUMNS])
        );
      end
      always_comb begin  // set at once, for all who listen
        logic [SEGMENTS*COLUMNS-1:0] by_segment;
        for (int i = 0; i < SEGMENTS * COLUMNS; i++)
          by_segment[i] = match[i%COLUMNS*SEGMENTS+i/COLUMNS];
        matched = by_segment;
      end
      always_comb begin
        logic [COLUMNS*SEGMENTS-1:0] written, line;
        for (int s = 0; s < SEGMENTS; s++)
          for (int c = 0; c < COLUMNS; c++) begin
            written[c*SEGMENTS+s] = en & mode & writes & active[s]
                & (op == WRITE ? now[s*COLUMNS+c] : op == WRITE_ALL | fill[c]);
            line[c*SEGMENTS+s] = op == WRITE_TAG ? moved[s*COLUMNS+c] : into[c];
          end
        vwrite = written;
        vline = line;
      end
    end else begin : g_horizontal
      assign {fill, put} = '0;
      assign {vwrite, vline} = '0;
      assign {now, moved, matched, vtag} = '0;
    end
  endgenerate

  always_ff @(posedge clk) begin
    if (rst) {tag, result} <= '0;
    else if (en & search) begin
      if (!mode) tag <= found;
      result <= mode ? LINE'(put) : LINE'(found);
    end
  end
endmodule
