/* sums[j] += sum over i < count of weights[i] * lines[i][j], for j < width: what few target channels are computed with,
 * where the vectors of the register tile would be nearly empty. Here they run along a line of pixels. */
#ifndef PYX_DECONV_LINES_H
#define PYX_DECONV_LINES_H

#include "tile.h"

#define REAL float
#define ADD_LINES add_lines_float
#include "lines_body.h"
#undef REAL
#undef ADD_LINES

#define REAL double
#define ADD_LINES add_lines_double
#include "lines_body.h"
#undef REAL
#undef ADD_LINES

#endif
