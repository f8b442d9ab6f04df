// 95 % intervals of what is measured on rows, or on random orders crossed with rows. Both are
// drawn: other rows and other orders would have given other numbers. How often each interval holds
// the truth is measured by `headcount bench coverage`; its table is docs/coverage.md.
#pragma once

#include <cstdint>

#include "experiments/metrics/moments.h"

namespace headcount::metrics {

/// The t between whose plus and minus a Student t variable of so many degrees of freedom lies with
/// probability kConfidence. degrees >= 1; more than 1,000 count as 1,000 (0.12 % too wide).
double student_quantile(int64_t degrees);

/// crossed_estimate() with an interval that drawing orders and rows anew would give. The orders'
/// part and the rows' part each come from their own means: Student's t with one degree less than
/// there are means, after the transformation that takes out their skewness (P. Hall 1992, "On the
/// removal of skewness by transformation", J. R. Stat. Soc. B 54: the cubic one; the skewness is
/// the sample's times 1 + 8.5 / n, Hazen 1930): a few orders that remove the one head that matters
/// leave plain Student 85 % instead of 95 %. The parts are
/// put together as root of squares, low and high apart (Zou and Donner 2008, Stat. Med. 27, 1693).
/// No interval with one row; one order: rows alone.
Estimate mean_estimate(const ByOrder& values);

/// The same of what cannot be negative (a loss): low is at least 0.
Estimate not_negative(Estimate estimate);

/// The same of a share: values are 0 or 1, the interval is never empty and stays within 0 and 1.
/// One order: Wilson's (1927). More: value ± 1.96 se of these orders and four more, two right and
/// two wrong in every row (Agresti and Coull 1998, Am. Stat. 52, 119, of orders in place of tries):
/// ten orders that all leave the model whole do not say that the next one will. No interval with
/// several orders of one row.
Estimate share_estimate(const ByOrder& values);

/// The same mean with the range of its orders instead: the 2.5 % and 97.5 % quantiles of their
/// means over the rows. For sets so small that one head decides (a mean's interval cannot be had
/// from twenty draws of a lottery); no interval with one order.
Estimate range_estimate(const ByOrder& values);

}  // namespace headcount::metrics
