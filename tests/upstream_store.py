"""The directory of a master of Crossbar.io, made with Crossbar.io's own classes for its database."""

import uuid

import numpy as np

REALM, OTHER = uuid.uuid4(), uuid.uuid4()
USER, NODE, NODE2 = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
CLUSTER, GROUP = uuid.uuid4(), uuid.uuid4()
KEY, KEY2, USER_KEY = "ab" * 32, "cd" * 32, "ef" * 32


def make_master(directory):
    """Write users, nodes, a router cluster and what else such a master keeps, as its cfxdb does."""
    import zlmdb
    from cfxdb.globalschema import GlobalSchema
    from cfxdb.mrealm import Role, RouterCluster, RouterClusterNodeMembership, RouterWorkerGroup, WebCluster
    from cfxdb.mrealm.management_realm import ManagementRealm
    from cfxdb.mrealm.node import Node
    from cfxdb.mrealmschema import MrealmSchema
    from cfxdb.user.user import User
    from cfxdb.user.user_mrealm_role import UserMrealmRole

    directory.mkdir(parents=True, exist_ok=True)
    now = np.datetime64("2026-11-20T10:00:00", "ns")
    database = zlmdb.Database(dbpath=str(directory / ".db-controller"), maxsize=2**24)
    with database:
        schema = GlobalSchema.attach(database)
        with database.begin(write=True) as txn:
            for oid, name in ((REALM, "default"), (OTHER, "other")):
                realm = ManagementRealm()
                realm.oid, realm.name, realm.owner = oid, name, uuid.uuid4()
                schema.mrealms[txn, oid] = realm
            user = User()
            user.oid, user.email, user.pubkey, user.label = USER, "joe@example.com", USER_KEY, "Joe"
            schema.users[txn, USER] = user
            superuser = User()
            # Seen in the database of a master that was run: it has no key in it.
            superuser.oid, superuser.email = uuid.uuid4(), "superuser"
            schema.users[txn, superuser.oid] = superuser
            schema.users_mrealm_roles[txn, (USER, REALM)] = UserMrealmRole([1, 2])
            for oid, name, key, of in ((NODE, "edge1", KEY, REALM), (NODE2, "edge2", KEY2, OTHER)):
                node = Node()
                node.oid, node.authid, node.pubkey, node.mrealm_oid, node.cluster_ip = oid, name, key, of, "127.0.0.1"
                schema.nodes[txn, oid] = node
    database = zlmdb.Database(dbpath=str(directory / f".db-mrealm-{REALM}"), maxsize=2**24)
    with database:
        schema = MrealmSchema.attach(database)
        with database.begin(write=True) as txn:
            schema.routerclusters[txn, CLUSTER] = RouterCluster(
                oid=CLUSTER, name="shop", label="The shop", tags=["a"], status=2, owner_oid=USER, changed=now
            )
            schema.router_workergroups[txn, GROUP] = RouterWorkerGroup(
                oid=GROUP, cluster_oid=CLUSTER, name="web", scale=3, status=1, changed=now
            )
            schema.routercluster_node_memberships[txn, (CLUSTER, NODE)] = RouterClusterNodeMembership(
                cluster_oid=CLUSTER, node_oid=NODE, softlimit=2, hardlimit=4
            )
            web = WebCluster(oid=uuid.uuid4(), name="pages", status=1, owner_oid=USER, changed=now)
            web.tcp_port = 8080
            schema.webclusters[txn, web.oid] = web
            role = Role(oid=uuid.uuid4(), name="reader", created=now, owner=USER)
            schema.roles[txn, role.oid] = role
