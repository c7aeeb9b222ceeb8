"""The data contract: what a data set on disk looks like, by name.

Every record is a `tf.train.Example` with three features: `id` (bytes, unique),
`image` (bytes, an encoded PNG or JPEG) and `label` (int64, 0 .. classes - 1; absent
when serving). This is the layout of CIFAR-10 in TensorFlow Datasets.
"""

ID = "id"
IMAGE = "image"
LABEL = "label"

TRAIN = "train"
EVAL = "eval"
TEST = "test"
SPLITS = (TRAIN, EVAL, TEST)

LABELS_FILE = "labels.txt"
MANIFEST_FILE = "manifest.json"
