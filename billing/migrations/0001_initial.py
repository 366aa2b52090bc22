import django.contrib.postgres.fields
import django.db.models.deletion
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('organizations', '0003_plans'),
    ]

    operations = [
        migrations.CreateModel(
            name='PriceVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('provider', models.CharField(blank=True, help_text='The service that serves the model, for example openai. Empty: any.', max_length=64)),
                ('model', models.CharField(max_length=255)),
                ('aliases', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=255), blank=True, default=list, help_text='Other names of the model in calls. A * stands for any run of characters.', size=None)),
                ('input_usd_per_million', models.DecimalField(blank=True, decimal_places=12, max_digits=24, null=True)),
                ('output_usd_per_million', models.DecimalField(blank=True, decimal_places=12, max_digits=24, null=True)),
                ('cache_read_usd_per_million', models.DecimalField(blank=True, decimal_places=12, help_text='Empty: cache reads are charged as input.', max_digits=24, null=True)),
                ('cache_creation_usd_per_million', models.DecimalField(blank=True, decimal_places=12, help_text='Cache writes kept 5 minutes. Empty: charged as input.', max_digits=24, null=True)),
                ('cache_creation_1h_usd_per_million', models.DecimalField(blank=True, decimal_places=12, help_text='Cache writes kept 1 hour. Empty: as those of 5 minutes.', max_digits=24, null=True)),
                ('reasoning_usd_per_million', models.DecimalField(blank=True, decimal_places=12, help_text='Empty: reasoning is charged as output.', max_digits=24, null=True)),
                ('audio_input_usd_per_million', models.DecimalField(blank=True, decimal_places=12, help_text='Empty: audio is charged as input.', max_digits=24, null=True)),
                ('audio_output_usd_per_million', models.DecimalField(blank=True, decimal_places=12, help_text='Empty: audio is charged as output.', max_digits=24, null=True)),
                ('request_usd', models.DecimalField(blank=True, decimal_places=12, help_text='Charged once for each call.', max_digits=24, null=True)),
                ('tiers', models.JSONField(blank=True, default=list)),
                ('effective_from', models.DateTimeField()),
                ('effective_to', models.DateTimeField(blank=True, null=True)),
                ('source', models.CharField(choices=[('catalogue', 'genai-prices catalogue'), ('manual', 'Set by hand')], default='manual', editable=False, max_length=16)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('organization', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='prices', to='organizations.organization')),
            ],
            options={
                'verbose_name': 'price',
            },
        ),
        migrations.CreateModel(
            name='QuarantinedRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('format', models.CharField(max_length=32)),
                ('received_at', models.DateTimeField()),
                ('record_id', models.CharField(blank=True, max_length=255)),
                ('field', models.CharField(blank=True, max_length=255)),
                ('code', models.CharField(max_length=64)),
                ('message', models.CharField(max_length=1000)),
                ('raw', models.TextField()),
                ('is_cut', models.BooleanField(default=False)),
                ('resolved_at', models.DateTimeField(blank=True, null=True)),
                ('credential', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='organizations.apicredential')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='quarantined_records', to='organizations.organization')),
            ],
        ),
        migrations.CreateModel(
            name='Run',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('run_id', models.CharField(max_length=255)),
                ('parent_run_id', models.CharField(blank=True, max_length=255)),
                ('workflow_id', models.CharField(blank=True, max_length=255)),
                ('created_at', models.DateTimeField()),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='organizations.organization')),
            ],
        ),
        migrations.CreateModel(
            name='UnpricedEvent',
            fields=[
                ('event_id', models.UUIDField(primary_key=True, serialize=False)),
                ('service', models.CharField(blank=True, max_length=255)),
                ('model', models.CharField(blank=True, max_length=255)),
                ('occurred_at', models.DateTimeField()),
                ('reason', models.CharField(choices=[('no_model', 'The event names no model'), ('no_price', 'No price covers the model at that time'), ('no_unit_price', 'The price lacks a unit price for some of the tokens'), ('no_usage', 'A successful call without token counts')], max_length=16)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='unpriced_events', to='organizations.organization')),
            ],
        ),
        migrations.CreateModel(
            name='UsageEvent',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('source', models.CharField(max_length=64)),
                ('event_id', models.CharField(blank=True, max_length=255)),
                ('key', models.UUIDField(editable=False, null=True)),
                ('payload_hash', models.BigIntegerField(editable=False, null=True)),
                ('request_id', models.CharField(blank=True, max_length=255)),
                ('kind', models.CharField(choices=[('model_call', 'Model call'), ('tool_call', 'Tool call'), ('compute', 'Compute'), ('session_summary', 'Session summary'), ('adjustment', 'Adjustment')], max_length=16)),
                ('occurred_at', models.DateTimeField()),
                ('received_at', models.DateTimeField()),
                ('duration_ms', models.DecimalField(decimal_places=3, max_digits=18, null=True)),
                ('status', models.CharField(choices=[('success', 'Success'), ('failure', 'Failure')], max_length=8)),
                ('status_code', models.PositiveSmallIntegerField(null=True)),
                ('endpoint', models.CharField(blank=True, max_length=255)),
                ('capability', models.CharField(blank=True, max_length=255)),
                ('service', models.CharField(blank=True, max_length=255)),
                ('model', models.CharField(blank=True, max_length=255)),
                ('cost_group', models.CharField(blank=True, max_length=255)),
                ('tool', models.CharField(blank=True, max_length=255)),
                ('run_id', models.CharField(blank=True, max_length=255)),
                ('workflow_id', models.CharField(blank=True, max_length=255)),
                ('execution_id', models.CharField(blank=True, max_length=255)),
                ('phase_id', models.CharField(blank=True, max_length=255)),
                ('workspace_id', models.CharField(blank=True, max_length=255)),
                ('session_id', models.CharField(blank=True, max_length=255)),
                ('group_id', models.CharField(blank=True, max_length=255)),
                ('group_name', models.CharField(blank=True, max_length=255)),
                ('agent_id', models.CharField(blank=True, max_length=255)),
                ('agent_name', models.CharField(blank=True, max_length=255)),
                ('user_ref', models.CharField(blank=True, max_length=255)),
                ('end_user', models.CharField(blank=True, max_length=255)),
                ('tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=255), default=list, size=None)),
                ('metadata', models.JSONField(null=True)),
                ('input_tokens', models.BigIntegerField(default=0)),
                ('output_tokens', models.BigIntegerField(default=0)),
                ('cache_read_tokens', models.BigIntegerField(default=0)),
                ('cache_creation_tokens', models.BigIntegerField(default=0)),
                ('cache_creation_1h_tokens', models.BigIntegerField(default=0)),
                ('reasoning_tokens', models.BigIntegerField(default=0)),
                ('audio_input_tokens', models.BigIntegerField(default=0)),
                ('audio_output_tokens', models.BigIntegerField(default=0)),
                ('tool_use_tokens', models.BigIntegerField(default=0)),
                ('tool_result_tokens', models.BigIntegerField(default=0)),
                ('token_cost_usd', models.DecimalField(decimal_places=24, max_digits=36, null=True)),
                ('compute_cost_usd', models.DecimalField(decimal_places=24, default=Decimal('0'), max_digits=36)),
                ('computed_cost_usd', models.DecimalField(decimal_places=24, max_digits=36, null=True)),
                ('cost_source', models.CharField(choices=[('computed', 'Computed from a price'), ('reported', 'Reported by the caller'), ('adjusted', 'Adjusted afterwards')], max_length=8)),
                ('unpriced_reason', models.CharField(blank=True, choices=[('no_model', 'The event names no model'), ('no_price', 'No price covers the model at that time'), ('no_unit_price', 'The price lacks a unit price for some of the tokens'), ('no_usage', 'A successful call without token counts')], max_length=16)),
                ('adjusts', models.UUIDField(editable=False, null=True)),
                ('adjustment_reason', models.CharField(blank=True, max_length=255)),
                ('credential', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='organizations.apicredential')),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='events', to='organizations.organization')),
                ('price_version', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.priceversion')),
            ],
        ),
        migrations.CreateModel(
            name='IngestBatch',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('format', models.CharField(help_text='The wire format, for example json or litellm.', max_length=32)),
                ('received_at', models.DateTimeField()),
                ('accepted', models.PositiveIntegerField(default=0)),
                ('duplicates', models.PositiveIntegerField(default=0)),
                ('conflicts', models.PositiveIntegerField(default=0)),
                ('rejected', models.PositiveIntegerField(default=0)),
                ('unpriced', models.PositiveIntegerField(default=0)),
                ('cost_usd', models.DecimalField(decimal_places=24, default=Decimal('0'), max_digits=36)),
                ('folded_at', models.DateTimeField(null=True)),
                ('credential', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='organizations.apicredential')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='batches', to='organizations.organization')),
            ],
            options={
                'verbose_name': 'batch',
                'verbose_name_plural': 'batches',
                'indexes': [models.Index(condition=models.Q(('folded_at', None)), fields=['organization'], name='batch_unfolded')],
            },
        ),
        migrations.CreateModel(
            name='PriceBookRevision',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('revision', models.PositiveBigIntegerField(default=0)),
                ('organization', models.OneToOneField(null=True, on_delete=django.db.models.deletion.CASCADE, to='organizations.organization')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('organization',), name='price_revision_once', nulls_distinct=False)],
            },
        ),
        migrations.AddConstraint(
            model_name='priceversion',
            constraint=models.UniqueConstraint(condition=models.Q(('effective_to', None), models.Q(('effective_to', models.F('effective_from')), _negated=True), _connector='OR'), fields=('organization', 'provider', 'model', 'effective_from'), name='price_version_once', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='priceversion',
            constraint=models.CheckConstraint(condition=models.Q(('effective_to', None), ('effective_to__gte', models.F('effective_from')), _connector='OR'), name='price_version_ends_after_it_begins'),
        ),
        migrations.AddIndex(
            model_name='quarantinedrecord',
            index=models.Index(condition=models.Q(('resolved_at', None)), fields=['organization', '-id'], name='quarantine_open'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('parent_run_id', ''), _negated=True), fields=['organization', 'parent_run_id'], name='run_children'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('workflow_id', ''), _negated=True), fields=['organization', 'workflow_id'], name='run_of_workflow'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(fields=('organization', 'run_id'), name='run_once'),
        ),
        migrations.AddIndex(
            model_name='unpricedevent',
            index=models.Index(fields=['organization', 'service', 'model'], name='unpriced_by_model'),
        ),
        migrations.AddIndex(
            model_name='usageevent',
            index=models.Index(fields=['organization', 'occurred_at', 'id'], name='event_by_time'),
        ),
        migrations.AddIndex(
            model_name='usageevent',
            index=models.Index(condition=models.Q(('run_id', ''), _negated=True), fields=['organization', 'run_id'], name='event_of_run'),
        ),
        migrations.AddIndex(
            model_name='usageevent',
            index=models.Index(condition=models.Q(('session_id', ''), _negated=True), fields=['organization', 'session_id'], name='event_of_session'),
        ),
        migrations.AddConstraint(
            model_name='usageevent',
            constraint=models.UniqueConstraint(fields=('organization', 'key'), name='event_key_once'),
        ),
    ]
