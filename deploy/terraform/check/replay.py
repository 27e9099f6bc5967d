"""Asks a fake AWS (moto) for what Terraform planned, reads back what came of it, and compares it with the primary.

    replay.py PLANS      a JSON file: {"plans": {run: plan}, "primary": what the mocks say of an existing one}

Shows that the planned arguments are requests as the API takes them (boto3 refuses unknown parameters and wrong types by the service's
own model), and that what is made is as the primary. Does not show RDS's rules: moto takes a source without backups, gives a replica the
source's security groups when none is asked for, and knows no provider. So the requests are looked at too, not only the results.
"""

import json
import logging
import sys

import boto3
import requests
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"

# Arguments of aws_db_instance, and what the provider calls them when it asks for a replica (CreateDBInstanceReadReplica).
REPLICA = {
    "identifier": "DBInstanceIdentifier",
    "replicate_source_db": "SourceDBInstanceIdentifier",
    "instance_class": "DBInstanceClass",
    "availability_zone": "AvailabilityZone",
    "vpc_security_group_ids": "VpcSecurityGroupIds",
    "kms_key_id": "KmsKeyId",
    "db_subnet_group_name": "DBSubnetGroupName",
    "parameter_group_name": "DBParameterGroupName",
    "storage_type": "StorageType",
    "iops": "Iops",
    "storage_throughput": "StorageThroughput",
    "max_allocated_storage": "MaxAllocatedStorage",
    "port": "Port",
    "network_type": "NetworkType",
    "multi_az": "MultiAZ",
    "publicly_accessible": "PubliclyAccessible",
    "ca_cert_identifier": "CACertificateIdentifier",
    "auto_minor_version_upgrade": "AutoMinorVersionUpgrade",
    "copy_tags_to_snapshot": "CopyTagsToSnapshot",
    "deletion_protection": "DeletionProtection",
    "monitoring_interval": "MonitoringInterval",
    "monitoring_role_arn": "MonitoringRoleArn",
    "performance_insights_enabled": "EnablePerformanceInsights",
    "performance_insights_retention_period": "PerformanceInsightsRetentionPeriod",
    "enabled_cloudwatch_logs_exports": "EnableCloudwatchLogsExports",
}
# For Terraform or the provider alone, or set once the replica is there. storage_encrypted is only compared.
NOT_ASKED = {
    "apply_immediately", "backup_retention_period", "delete_automated_backups", "maintenance_window", "region",
    "skip_final_snapshot", "storage_encrypted", "tags", "tags_all", "timeouts", "blue_green_update", "restore_to_point_in_time", "s3_import",
}
# What a primary is asked for with, beside those (CreateDBInstance).
PRIMARY = (REPLICA.keys() - {"replicate_source_db"}) | {
    "engine", "engine_version", "username", "db_name", "allocated_storage", "storage_encrypted", "backup_retention_period",
    "backup_window", "maintenance_window",
}
PRIMARY_NAMES = {
    "engine": "Engine",
    "engine_version": "EngineVersion",
    "username": "MasterUsername",
    "db_name": "DBName",
    "allocated_storage": "AllocatedStorage",
    "storage_encrypted": "StorageEncrypted",
    "backup_retention_period": "BackupRetentionPeriod",
    "backup_window": "PreferredBackupWindow",
    "maintenance_window": "PreferredMaintenanceWindow",
}
# Arguments that name what is made beside, and so have no value yet in the plan: what they are here.
MADE_BESIDE = {
    "monitoring_role_arn": "arn:aws:iam::111122223333:role/rds-monitoring-1",
    "parameter_group_name": "orders-highwater-1",
}
ALARM = {
    "alarm_name": "AlarmName",
    "alarm_description": "AlarmDescription",
    "comparison_operator": "ComparisonOperator",
    "threshold": "Threshold",
    "evaluation_periods": "EvaluationPeriods",
    "datapoints_to_alarm": "DatapointsToAlarm",
    "treat_missing_data": "TreatMissingData",
    "namespace": "Namespace",
    "metric_name": "MetricName",
    "statistic": "Statistic",
    "period": "Period",
    "alarm_actions": "AlarmActions",
    "ok_actions": "OKActions",
}
ALARM_NOT_ASKED = {"actions_enabled", "tags", "tags_all", "region", "dimensions", "metric_query"}


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with open(sys.argv[1]) as file:
        given = json.load(file)
    assert given["plans"], "there are no plans to replay"
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        for name, plan in given["plans"].items():
            # Their instances have the same names: an AWS of its own for each.
            requests.post(f"{endpoint}/moto-api/reset", timeout=10).raise_for_status()
            replayed = Replay(endpoint, plan)
            replayed.parameters()
            replayed.primary(given["primary"])
            count = replayed.replicas()
            alarms = replayed.alarms()
            print(f"terraform: {name}: {count} replicas as their primary, {alarms} alarms, asked of a fake AWS and read back")
    finally:
        server.stop()


class Replay:
    def __init__(self, endpoint, plan):
        known = {"endpoint_url": endpoint, "region_name": REGION, "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        self.rds = boto3.client("rds", **known)
        self.ec2 = boto3.client("ec2", **known)
        self.cloudwatch = boto3.client("cloudwatch", **known)
        self.planned = [change for change in plan["resource_changes"] if change["change"]["actions"] == ["create"]]

    def resources(self, kind, name):
        return [it for it in self.planned if it["type"] == kind and it["name"] == name]

    def parameters(self):
        """Asks for the planned parameter group, and reads its parameters back."""
        (planned,) = self.resources("aws_db_parameter_group", "highwater")
        after, name = planned["change"]["after"], MADE_BESIDE["parameter_group_name"]
        self.rds.create_db_parameter_group(
            DBParameterGroupName=name, DBParameterGroupFamily=after["family"], Description=after["description"]
        )
        wanted = {it["name"]: (it["value"], it["apply_method"]) for it in after["parameter"]}
        self.rds.modify_db_parameter_group(
            DBParameterGroupName=name,
            Parameters=[
                {"ParameterName": key, "ParameterValue": value, "ApplyMethod": method} for key, (value, method) in wanted.items()
            ],
        )
        found = self.rds.describe_db_parameters(DBParameterGroupName=name, Source="user")["Parameters"]
        same("parameters", {it["ParameterName"]: (it["ParameterValue"], it["ApplyMethod"]) for it in found}, wanted)

    def groups(self, wanted):
        """A subnet group, parameter groups and security groups to refer to; the groups' names in the plan to those here."""
        vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = self.ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        self.rds.create_db_subnet_group(DBSubnetGroupName="private", DBSubnetGroupDescription="private", SubnetIds=[subnet])
        return {name: self.ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"] for name in wanted}

    def primary(self, existing):
        """The source of the replicas: as planned, or as the mocks have it."""
        made = self.resources("aws_db_instance", "primary")
        if made:
            after = known(made[0])
            request = {({**REPLICA, **PRIMARY_NAMES})[name]: after[name] for name in PRIMARY if after.get(name) is not None}
            request["VpcSecurityGroupIds"] = after["vpc_security_group_ids"]
        else:
            request = {
                "DBInstanceIdentifier": existing["db_instance_identifier"],
                "DBInstanceClass": existing["db_instance_class"],
                "Engine": existing["engine"],
                "EngineVersion": existing["engine_version"],
                "AllocatedStorage": existing["allocated_storage"],
                "MaxAllocatedStorage": existing["max_allocated_storage"],
                "StorageType": existing["storage_type"],
                "Iops": existing["iops"],
                "StorageEncrypted": existing["storage_encrypted"],
                "KmsKeyId": existing["kms_key_id"],
                "DBSubnetGroupName": existing["db_subnet_group"],
                "VpcSecurityGroupIds": existing["vpc_security_groups"],
                "BackupRetentionPeriod": existing["backup_retention_period"],
                "Port": existing["port"],
                "MasterUsername": "postgres",
            }
        self.security_groups = self.groups(request["VpcSecurityGroupIds"])
        request["VpcSecurityGroupIds"] = [self.security_groups[name] for name in request["VpcSecurityGroupIds"]]
        if request["BackupRetentionPeriod"] < 1:
            raise AssertionError("RDS makes no replica of a source without backups")
        self.rds.create_db_instance(**request, MasterUserPassword="not-in-any-plan")
        self.source = request["DBInstanceIdentifier"]

    def replicas(self):
        """Asks for each planned replica and compares what is there then."""
        planned = self.resources("aws_db_instance", "replica")
        assert planned, "no replica is planned"
        source = self.described(self.source)
        for it in planned:
            request = self.request(it)
            self.rds.create_db_instance_read_replica(**request)
            self.compare(self.described(request["DBInstanceIdentifier"]), source, request, known(it))
        linked = self.described(self.source)["ReadReplicaDBInstanceIdentifiers"]
        same("replicas the primary knows", sorted(linked), sorted(it["change"]["after"]["identifier"] for it in planned))
        return len(planned)

    def request(self, it):
        """The API's request for a planned replica. What is null or only known later is left out, as the provider does."""
        after = known(it)
        stray = {name for name, value in after.items() if value not in (None, [], {})} - REPLICA.keys() - NOT_ASKED
        assert not stray, f"{it['address']}: nobody asks RDS for {sorted(stray)} of a replica"
        request = {REPLICA[name]: value for name, value in after.items() if name in REPLICA and value is not None}
        # In the primary's region RDS gives these itself; asked for, the key was refused by older answers of the API.
        for inherited in ("KmsKeyId", "DBSubnetGroupName", "AllocatedStorage", "Engine", "MasterUsername"):
            assert inherited not in request, f"{it['address']} asks for {inherited}"
        assert request.get("VpcSecurityGroupIds"), f"{it['address']}: without security groups RDS takes the VPC's default one"
        request["VpcSecurityGroupIds"] = [self.security_groups[name] for name in request["VpcSecurityGroupIds"]]
        return request

    def compare(self, replica, source, request, after):
        name = replica["DBInstanceIdentifier"]
        for what in ("DBInstanceClass", "Engine", "EngineVersion", "StorageEncrypted", "KmsKeyId", "StorageType", "AllocatedStorage"):
            same(f"{name}: {what}", replica.get(what), source.get(what))
        same(f"{name}: security groups", groups(replica), groups(source))
        same(f"{name}: security groups asked for", sorted(request["VpcSecurityGroupIds"]), groups(source))
        same(f"{name}: parameter group", [it["DBParameterGroupName"] for it in replica["DBParameterGroups"]], [MADE_BESIDE["parameter_group_name"]])
        same(f"{name}: subnet group", subnets(replica), subnets(source))
        same(f"{name}: source", replica["ReadReplicaSourceDBInstanceIdentifier"], self.source)
        same(f"{name}: encryption planned", after["storage_encrypted"], source["StorageEncrypted"])

    def described(self, name):
        return self.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]

    def alarms(self):
        """Asks for each planned alarm and compares what is there then."""
        planned = [it for it in self.planned if it["type"] == "aws_cloudwatch_metric_alarm"]
        for it in planned:
            after = it["change"]["after"]
            stray = {name for name, value in after.items() if value not in (None, [], {})} - ALARM.keys() - ALARM_NOT_ASKED
            assert not stray, f"{it['address']}: unknown to this replay: {sorted(stray)}"
            request = {ALARM[name]: value for name, value in after.items() if name in ALARM and value is not None}
            if after.get("dimensions"):
                request["Dimensions"] = dimensions(after["dimensions"])
            if after.get("metric_query"):
                request["Metrics"] = [metric(query) for query in after["metric_query"]]
            self.cloudwatch.put_metric_alarm(**request)
            (found,) = self.cloudwatch.describe_alarms(AlarmNames=[request["AlarmName"]])["MetricAlarms"]
            for key, value in request.items():
                if key == "Metrics":
                    same(f"{request['AlarmName']}: {key}", by_id(found[key]), by_id(value))
                else:
                    same(f"{request['AlarmName']}: {key}", found.get(key), value)
        return len(planned)


def known(it):
    """A planned resource's arguments, with what is made beside it in place."""
    change = it["change"]
    return change["after"] | {name: value for name, value in MADE_BESIDE.items() if change["after_unknown"].get(name) is True}


def metric(query):
    made = {"Id": query["id"], "ReturnData": query["return_data"]}
    made |= {"Expression": query["expression"]} if query.get("expression") else {}
    made |= {"Label": query["label"]} if query.get("label") else {}
    for it in query.get("metric") or []:
        of = {"Namespace": it["namespace"], "MetricName": it["metric_name"], "Dimensions": dimensions(it["dimensions"])}
        made["MetricStat"] = {"Metric": of, "Period": it["period"], "Stat": it["stat"]}
    return made


def by_id(metrics):
    return sorted(metrics, key=lambda it: it["Id"])


def dimensions(given):
    return [{"Name": name, "Value": value} for name, value in sorted(given.items())]


def groups(instance):
    return sorted(group["VpcSecurityGroupId"] for group in instance["VpcSecurityGroups"])


def subnets(instance):
    return instance["DBSubnetGroup"]["DBSubnetGroupName"]


def same(what, found, wanted):
    assert found == wanted, f"{what}: {found!r}, not {wanted!r}"


if __name__ == "__main__":
    main()
