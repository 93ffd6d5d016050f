"""A Ray cluster of several nodes, which are processes of this machine.

python -m tests.cluster.several_nodes CORES...: a node each, the first of which is the head; prints the address, and
ends when its input does.
"""

import os
import sys
import tempfile

from tlcli.cluster import session

if __name__ == "__main__":
    small = {"object_store_memory": 80 << 20}
    head, *others = [int(one) for one in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update({**session._QUIET, "PYTHONPATH": session._python_path(folder)})  # starts in time, see there
        from ray.cluster_utils import Cluster

        cluster = Cluster(True, head_node_args={"num_cpus": head, "include_dashboard": False, **small})
        for cores in others:
            cluster.add_node(num_cpus=cores, **small)
        sys.stdout.write(f"{cluster.address}\n")
        sys.stdout.flush()
        sys.stdin.read()
        cluster.shutdown()
