/* TYPED(name, of): name_float or name_double, by what ``of`` is or points to. The loops call functions by the name that
 * both share. */
#ifndef PYX_DECONV_TYPED_H
#define PYX_DECONV_TYPED_H

#define TYPED(name, of)                                                                                       \
    _Generic((of), float: name##_float, float *: name##_float, const float *: name##_float,                   \
             float **: name##_float, const float **: name##_float, double: name##_double,                     \
             double *: name##_double, const double *: name##_double, double **: name##_double,                \
             const double **: name##_double)

#endif
