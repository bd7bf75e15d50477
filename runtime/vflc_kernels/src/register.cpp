// What onnxruntime calls, and what says what this is: the list of all operators.

#include "dense.h"
#include "expand.h"
#include "export.h"
#include "fused.h"
#include "gather_rows.h"
#include "launch.h"
#include "operators.h"
#include "rows.h"
#include "sum_axis.h"
#include "user_steps.h"

namespace {

template <class Kernel>
void add(Ort ort, OrtDomain* domain) {
  static const Operator<Kernel> made;
  ort.call(Ort::add_operator, domain, static_cast<const OrtOperator*>(&made));
}

}  // namespace

// The digest of the sources that this was built from.
EXPORT const char* vflc_kernels_sources() { return VFLC_KERNELS_SOURCES; }

// What multiplies matrices on this processor; null where it has nothing for bfloat16.
EXPORT const char* vflc_kernels_products(int bfloat16) {
  const vflc::Products* found = vflc::products(bfloat16);
  return found ? found->name : nullptr;
}

// How many regions ran by a loop of their own so far; for tests.
EXPORT int64_t vflc_kernels_frequent() { return runs_of_frequent_programs(); }

// Lets so many threads share out operators that the calling thread makes from now on; 0 for those of their session.
EXPORT void vflc_kernels_new_operators(int threads) { threads_of_new = threads > 0 ? static_cast<size_t>(threads) : 0; }

// Lets at most so many threads share out operators that the calling thread runs; 0 for all that they have.
EXPORT void vflc_kernels_threads(int most) { threads_at_most = most > 0 ? static_cast<size_t>(most) : 0; }

EXPORT OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtBase* base) {
  OrtTable table = base->table(kVersion);
  if (!table) return nullptr;  // older than 1.17, whose sessions will miss the operators
  Ort ort(table);
  try {
    static OrtDomain* domain = [&] {  // lives as long as the process, as sessions refer to it
      OrtDomain* made = nullptr;
      ort.call(Ort::create_domain, "vflc.kernels", &made);
      add<Fused<float>>(ort, made);
      add<Fused<double>>(ort, made);
      add<DenseOperator>(ort, made);
      add<DenseBackwardOperator>(ort, made);
      add<TakeRows<float>>(ort, made);
      add<TakeRows<double>>(ort, made);
      add<PutRows<float>>(ort, made);
      add<PutRows<double>>(ort, made);
      add<SumRows<float>>(ort, made);
      add<SumRows<double>>(ort, made);
      add<GatherRows<float>>(ort, made);
      add<GatherRows<double>>(ort, made);
      add<Expand<float>>(ort, made);
      add<Expand<double>>(ort, made);
      add<SumAxis<float>>(ort, made);
      add<SumAxis<double>>(ort, made);
      add<UserSteps<float>>(ort, made);
      add<UserSteps<double>>(ort, made);
      add<Launch<float>>(ort, made);
      add<Launch<double>>(ort, made);
      return made;
    }();
    ort.call(Ort::add_domain, options, domain);
    return nullptr;
  } catch (const std::exception& error) {
    return ort.failed(error.what());
  }
}
