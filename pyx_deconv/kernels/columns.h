/* What few pixels need beside the register tile; columns.pxi has the formula.
 *
 *     cut_into_panels   panels[p * panel_step + j] = row[p * lanes + j] for p < count, j < lanes, the lanes of a whole
 *                       panel, while the cache fetches what lies ahead of the row
 */
#ifndef PYX_DECONV_COLUMNS_H
#define PYX_DECONV_COLUMNS_H

#include "tile.h"

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

#endif
