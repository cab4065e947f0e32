/* What few pixels need beside the register tile; columns.pxi has the formula.
 *
 *     cut_into_panels   panels[p * panel_step + j] = row[p * lanes + j] for p < count, j < lanes, the lanes of a whole
 *                       panel, while the cache fetches what lies ahead of the row
 *     add_dots          sums[i * sums_step + p] += sum over k < depth of
 *                           rows[i * row_step + k] * columns[p * column_step + k]
 *                       for i < used_rows <= DOT_ROWS and p < pixels <= DOT_PIXELS: vectors run along the rows, which
 *                       are read once, DOT_ROWS at a time
 *     add_multiples     sums[p * sums_step + j] += sum over k < depth of
 *                           values[p * value_step + k] * rows[k * row_step + j]
 *                       for p < pixels <= TILE_ROWS and j < size: vectors run along the rows here as well
 */
#ifndef PYX_DECONV_COLUMNS_H
#define PYX_DECONV_COLUMNS_H

#include "tile.h"

#include <string.h>

#define DOT_PIXELS 4
#define DOT_AHEAD 2048 /* bytes of a row that are fetched before they are needed: its neighbours lie far away */
#define DOT_ROWS (TILE_ROWS / 2) /* sums in half as many registers as the tile has, and a vector of each pixel */

#define REAL float
#define NAME(name) name##_float
#include "columns_body.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) name##_double
#include "columns_body.h"
#undef REAL
#undef NAME

#define cut_into_panels(row, ...) TYPED(cut_into_panels, row)(row, __VA_ARGS__)
#define add_dots(pixels, used_rows, depth, rows, ...) \
    TYPED(add_dots, rows)(pixels, used_rows, depth, rows, __VA_ARGS__)
#define add_multiples(pixels, depth, size, values, ...) \
    TYPED(add_multiples, values)(pixels, depth, size, values, __VA_ARGS__)

#endif
